//! Losses and resampling against MONAI, nnU-Net and PyTorch. `tools/golden_monai.py` made `tests/golden/losses_monai.json`.

use crate::support::{self, gpu};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use vnet_engine::graph::{Graph, gradients, interpret};
use vnet_engine::nn::{Activation, LossInputs, Losses};
use vnet_engine::ops::{AvgPool, GRADIENT_OPS, UpsampleLinear, UpsampleNearest};
use vnet_engine::registry::{Choice, Value};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{HostTensor, TensorSpec};

#[derive(Deserialize)]
struct Golden {
    data: Vec<Data>,
    losses: Vec<Expected>,
    resolutions: Vec<Resolution>,
}

#[derive(Deserialize)]
struct Data {
    name: String,
    /// N, D, H, W, K.
    shape: [usize; 5],
    logits: Vec<f64>,
    labels: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    data: String,
    loss: String,
    keys: BTreeMap<String, Value>,
    class_weights: Vec<f32>,
    factor: f64,
    constant: f64,
    value: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Resolution {
    op: String,
    factors: [usize; 3],
    extents: [usize; 3],
    input: Vec<f64>,
    output: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/losses_monai.json")).expect("golden losses")
}

/// The loss and its gradient with respect to the logits, in f64 and on the device.
fn of_logits(data: &Data, expected: &Expected) -> [[HostTensor; 2]; 2] {
    let mut choice = Choice::<Losses>::named(&expected.loss);
    for (key, value) in &expected.keys {
        // JSON does not tell 10 from 10.0.
        let value = if let Value::Whole(whole) = value { Value::Number(*whole as f64) } else { value.clone() };
        choice = choice.with(key, value);
    }
    let mut graph = Graph::new();
    let logits = graph.parameter("logits", &data.shape, ParameterLayout::Vector, false);
    let labels = graph.input("labels", TensorSpec::u32(&data.shape[..4]));
    let activation = if data.name == "classes" { Activation::Softmax } else { Activation::Sigmoid };
    let inputs = LossInputs { class_weights: &expected.class_weights, ..LossInputs::new(logits, labels, activation) };
    let loss = choice.build().append(&mut graph, inputs).expect("the shapes belong together");
    let gradient = gradients(&mut graph, loss, &[logits], 1.0, GRADIENT_OPS).expect("a gradient")[0];
    let wanted = [loss, gradient.expect("the loss depends on the logits")];
    let feeds = [(logits, &data.logits), (labels, &data.labels)]
        .map(|(value, data)| (value, HostTensor::new(graph.spec(value).clone(), data.clone())));
    let values = interpret(&graph, &HashMap::from(feeds.clone())).expect("every input is fed");
    let found = support::run(gpu(), gpu().target(), &graph, &feeds, &wanted);
    [wanted.map(|value| values[value.index()].clone()), found.try_into().expect("two values")]
}

/// Within 1e-5, gradients of their largest element; the others compute in f32.
pub fn losses_are_those_of_monai_and_nnunet() {
    let golden = golden();
    let names: BTreeSet<&str> = golden.losses.iter().map(|expected| expected.loss.as_str()).collect();
    assert_eq!(Vec::from_iter(names), ["cross_entropy", "dice_focal", "dice_topk", "focal", "topk", "tversky"]);
    for expected in &golden.losses {
        let data = golden.data.iter().find(|data| data.name == expected.data).expect("its data");
        for ([value, gradient], by) in of_logits(data, expected).iter().zip(["f64", "device"]) {
            let at = format!("{} of {}, {:?}, {by}", expected.loss, expected.data, expected.keys);
            let difference = value.data[0] - (expected.factor * expected.value + expected.constant);
            assert!(difference.abs() <= 1e-5, "{at}: loss differs by {difference:e}");
            let largest = gradient.max_abs();
            assert!(largest > 1e-4, "{at}: there is a gradient");
            assert_eq!(gradient.data.len(), expected.gradient.len(), "{at}");
            for (i, (found, wanted)) in gradient.data.iter().zip(&expected.gradient).enumerate() {
                let difference = found - expected.factor * wanted;
                assert!(difference.abs() <= 1e-5 * largest, "{at}: element {i} differs by {difference:e} of {largest}");
            }
        }
    }
}

/// On the device, within the rounding of numbers below 8 to f32 and of weights: fewer than 20 roundings.
pub fn resolutions_change_as_pytorchs() {
    let resolutions = golden().resolutions;
    assert_eq!(resolutions.len(), 4);
    for Resolution { op, factors, extents, input, output } in resolutions {
        let mut graph = Graph::new();
        let [d, h, w] = extents;
        let x = graph.input("x", TensorSpec::f32([1, d, h, w, 2]));
        let y = match op.as_str() {
            "avg_pool" => graph.add(AvgPool { window: factors }, &[x]),
            "upsample_nearest" => graph.add(UpsampleNearest { factors }, &[x]),
            "upsample_linear" => graph.add(UpsampleLinear { factors }, &[x]),
            other => panic!("{other} is not expected"),
        };
        let y = y.expect("of these extents");
        let feed = HostTensor::new(graph.spec(x).clone(), input);
        let found = support::run(gpu(), gpu().target(), &graph, &[(x, feed)], &[y]).swap_remove(0);
        assert_eq!(found.data.len(), output.len(), "{op} {factors:?}");
        for (i, (found, expected)) in found.data.iter().zip(&output).enumerate() {
            assert!(
                (found - expected).abs() <= 8.0 * 20.0 * support::U,
                "{op} {factors:?}, {i}: {found}, not {expected}"
            );
        }
    }
}
