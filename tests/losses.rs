//! Losses: against nnU-Net's, and that ignored voxels have no say in a network's gradients.
//!
//! `tools/golden_losses.py` made `tests/golden/losses.json`.

#[path = "losses/monai.rs"]
mod monai;
mod support;

use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use support::gpu;
use vnet_engine::exec::Executor;
use vnet_engine::graph::{Graph, gradients, interpret};
use vnet_engine::kernel::Arena;
use vnet_engine::nn::loss::{CrossEntropy, Dice};
use vnet_engine::nn::model::initial_arena;
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Activation, Loss, LossInputs, Losses, Network, TrainingGraph};
use vnet_engine::ops::GRADIENT_OPS;
use vnet_engine::plan::{Request, plan};
use vnet_engine::registry::{Choice, cases};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{HostTensor, TensorSpec, ValueId};
use vnet_engine::train::Preset;

fn main() {
    support::run_trials(&[
        ("values_and_gradients_are_nnunets", true, values_and_gradients_are_nnunets),
        ("ignored_voxels_have_no_say_in_any_gradient", true, ignored_voxels_have_no_say_in_any_gradient),
        (
            "a_batch_without_a_voxel_that_counts_has_no_gradient",
            true,
            a_batch_without_a_voxel_that_counts_has_no_gradient,
        ),
        ("losses_are_those_of_monai_and_nnunet", true, monai::losses_are_those_of_monai_and_nnunet),
        ("resolutions_change_as_pytorchs", true, monai::resolutions_change_as_pytorchs),
        ("settings_of_a_loss_reach_it", false, settings_of_a_loss_reach_it),
        ("a_loss_without_regions_is_refused_by_its_key", false, a_loss_without_regions_is_refused_by_its_key),
    ]);
}

/// What nnU-Net computed.
#[derive(Deserialize)]
struct Golden {
    cases: Vec<GoldenCase>,
}

#[derive(Deserialize)]
struct GoldenCase {
    name: String,
    activation: Activation,
    /// N, D, H, W, K.
    shape: [usize; 5],
    dice_batch: bool,
    /// By what nnU-Net's cross-entropy is larger than the mean over the regions.
    terms: f64,
    logits: Vec<f64>,
    labels: Vec<f64>,
    cross_entropy: Term,
    dice: Term,
    /// The sum of both terms.
    both: f64,
}

#[derive(Deserialize)]
struct Term {
    loss: f64,
    gradient: Vec<f64>,
}

/// The loss and its gradient with respect to the logits, in f64 and on the device.
fn of_logits(case: &GoldenCase, loss: &dyn Loss) -> [[HostTensor; 2]; 2] {
    let mut graph = Graph::new();
    let logits = graph.parameter("logits", &case.shape, ParameterLayout::Vector, false);
    let labels = graph.input("labels", TensorSpec::u32(&case.shape[..4]));
    let inputs = LossInputs::new(logits, labels, case.activation);
    let loss = loss.append(&mut graph, inputs).expect("the shapes belong together");
    let gradient = gradients(&mut graph, loss, &[logits], 1.0, GRADIENT_OPS).expect("a gradient")[0];
    let wanted = [loss, gradient.expect("the loss depends on the logits")];
    let feeds = [(logits, &case.logits), (labels, &case.labels)]
        .map(|(value, data)| (value, HostTensor::new(graph.spec(value).clone(), data.clone())));
    let values = interpret(&graph, &HashMap::from(feeds.clone())).expect("every input is fed");
    let found = support::run(gpu(), gpu().target(), &graph, &feeds, &wanted);
    [wanted.map(|value| values[value.index()].clone()), found.try_into().expect("two values")]
}

/// Within 1e-5, gradients of their largest element.
fn values_and_gradients_are_nnunets() {
    let golden: Golden = serde_json::from_str(include_str!("golden/losses.json")).expect("golden losses");
    assert_eq!(golden.cases.len(), 8);
    for case in &golden.cases {
        let dice = Dice { squares: false, batch: case.dice_batch };
        // nnU-Net's Dice loss lacks the 1 from which the coefficient is taken.
        let terms: [(&str, &dyn Loss, &Term, f64, f64); 2] = [
            ("Dice", &dice, &case.dice, 1.0, 1.0),
            ("cross-entropy", &CrossEntropy { weighted: false }, &case.cross_entropy, 1.0 / case.terms, 0.0),
        ];
        let mut sum = 0.0;
        for (term, loss, expected, factor, constant) in terms {
            for ([value, gradient], by) in of_logits(case, loss).iter().zip(["f64", "device"]) {
                let at = format!("{}: {term}, {by}", case.name);
                let difference = value.data[0] - (factor * expected.loss + constant);
                assert!(difference.abs() <= 1e-5, "{at}: loss differs by {difference:e}");
                let largest = gradient.max_abs();
                assert!(largest > 1e-4, "{at}: there is a gradient");
                for (i, (found, expected)) in gradient.data.iter().zip(&expected.gradient).enumerate() {
                    let difference = found - factor * expected;
                    assert!(
                        difference.abs() <= 1e-5 * largest,
                        "{at}: element {i} differs by {difference:e} of {largest}"
                    );
                }
            }
            sum += expected.loss;
        }
        assert!((sum - case.both).abs() <= 1e-6, "{}: nnU-Net's loss is the sum of its terms", case.name);
    }
}

/// Every loss of the table, with the defaults and the variants.
fn losses() -> Vec<(&'static str, Arc<dyn Loss>)> {
    cases::<Losses>()
}

/// A training that runs on whatever labels it is given.
struct Trained {
    graph: TrainingGraph,
    executor: Executor,
}

const EXTENTS: [usize; 3] = [6, 5, 8];

impl Trained {
    fn new(loss: &dyn Loss, activation: Activation) -> Self {
        let vnet = VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] };
        let network = Network::new(2, 3, vnet).with_activation(activation);
        let graph = TrainingGraph::new(&network, loss, 2, EXTENTS, 1.0).expect("a small network");
        let outputs = [graph.loss];
        let request = Request { gradients: &graph.gradients, ..Request::inference(&graph.graph, &outputs) };
        let plan = plan(&request, gpu().target()).expect("it fits");
        let arena = initial_arena(&graph.graph, &plan.arena, 5, 0.3);
        let executor = Executor::new(Arc::clone(gpu()), plan).expect("it fits");
        executor.write_arena(Arena::Parameters, &arena);
        let image = HostTensor::from_fn(graph.graph.spec(graph.image).shape.clone(), |i| (i as f64 * 0.7).sin() * 2.0);
        executor.write(graph.image, &image.to_device_bytes());
        Self { graph, executor }
    }

    /// Bits of the loss and of every gradient.
    fn on(&self, labels: &[u32]) -> (f32, Vec<u32>) {
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        self.executor.write(self.graph.labels, &bytes);
        self.executor.run(0).expect("the device runs");
        let value =
            |value: ValueId| self.executor.read(value, self.graph.graph.spec(value)).expect("the device answers");
        let gradients = self.executor.read_arena(Arena::Gradients).expect("the device answers");
        (value(self.graph.loss).data[0] as f32, gradients.iter().map(|g| g.to_bits()).collect())
    }
}

/// Deterministic numbers that no pattern of the index explains.
fn hashed(i: usize, salt: u32) -> u32 {
    let h = (i as u32 ^ salt.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
    (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35) ^ (h >> 16)
}

/// Labels of which about a third are ignored, by another number that is none under each salt.
fn labels(activation: Activation, salt: u32) -> Vec<u32> {
    let label = |i: usize| {
        let (is_ignored, wild) = (hashed(i, 1).is_multiple_of(3), hashed(i, salt));
        match (activation, is_ignored) {
            (Activation::Softmax, false) => hashed(i, 2) % 3,
            (Activation::Softmax, true) => wild.max(3),
            (Activation::Sigmoid, false) => hashed(i, 2) % 8,
            (Activation::Sigmoid, true) => wild | (1 << 31),
        }
    };
    (0..2 * EXTENTS.iter().product::<usize>()).map(label).collect()
}

fn ignored_voxels_have_no_say_in_any_gradient() {
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        for (name, loss) in losses().into_iter().filter(|(_, loss)| loss.is_defined(activation)) {
            let training = Trained::new(&*loss, activation);
            let first = training.on(&labels(activation, 10));
            assert!(first.0 > 0.1 && first.1.iter().any(|&g| f32::from_bits(g).abs() > 1e-4), "{name}: {}", first.0);
            for salt in 11..14 {
                assert_ne!(labels(activation, 10), labels(activation, salt));
                let (loss, gradients) = training.on(&labels(activation, salt));
                assert_eq!(loss.to_bits(), first.0.to_bits(), "{name}, {activation:?}");
                assert_eq!(gradients, first.1, "{name}, {activation:?}");
            }
            // A voxel that counts has a say; in a loss of the worst voxels, one of many.
            let has_a_say = |i: usize| {
                let mut other = labels(activation, 10);
                other[i] = (other[i] + 1) % 3;
                training.on(&other) != first
            };
            let mut counting = (0..2 * EXTENTS.iter().product::<usize>()).filter(|&i| !hashed(i, 1).is_multiple_of(3));
            assert!(counting.by_ref().take(60).any(has_a_say), "{name}, {activation:?}");
        }
    }
}

fn a_batch_without_a_voxel_that_counts_has_no_gradient() {
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        for (name, loss) in losses().into_iter().filter(|(_, loss)| loss.is_defined(activation)) {
            let training = Trained::new(&*loss, activation);
            let nothing = vec![u32::MAX; 2 * EXTENTS.iter().product::<usize>()];
            let (loss, gradients) = training.on(&nothing);
            // A Dice is 1 - ε / ε, a division of 2.5 ulp.
            assert!(f64::from(loss).abs() <= 5.0 * support::U, "{name}, {activation:?}: {loss}");
            assert!(gradients.iter().all(|&g| f32::from_bits(g) == 0.0), "{name}, {activation:?}");
            // One sample without any, the other with all: still a number.
            let mut half = labels(activation, 10);
            let samples = half.len() / 2;
            half[..samples].fill(u32::MAX);
            let (loss, gradients) = training.on(&half);
            assert!(loss.is_finite() && loss > 0.01, "{name}, {activation:?}: {loss}");
            assert!(gradients.iter().all(|&g| f32::from_bits(g).is_finite()), "{name}, {activation:?}");
            assert!(gradients.iter().any(|&g| f32::from_bits(g) != 0.0), "{name}, {activation:?}");
        }
    }
}

/// The keys of a configuration make the operations that they name.
fn settings_of_a_loss_reach_it() {
    let operations = |choice: Choice<Losses>| {
        let mut graph = Graph::new();
        let logits = graph.input("logits", TensorSpec::f32([2, 2, 3, 5, 3]));
        let labels = graph.input("labels", TensorSpec::u32([2, 2, 3, 5]));
        let inputs = LossInputs::new(logits, labels, Activation::Softmax);
        choice.build().append(&mut graph, inputs).expect("defined");
        let dice = graph.nodes().iter().find(|node| node.op.name() == "soft_dice_loss").expect("a Dice");
        format!("{:?}", dice.op)
    };
    for name in ["dice", "dice_cross_entropy"] {
        assert!(operations(Choice::named(name)).contains("squares: true, batch: false"));
        let other = Choice::named(name).with("dice_squares", false).with("dice_batch", true);
        assert!(operations(other).contains("squares: false, batch: true"));
    }
}

fn a_loss_without_regions_is_refused_by_its_key() {
    let check = |loss: &str, activation| {
        let mut config = Preset::Tiny.config();
        config.training.loss = Choice::named(loss);
        config.check_network(&config.network(1, 3).with_activation(activation)).map_err(|error| error.to_string())
    };
    for (name, loss) in losses() {
        let key = name.split('/').next().expect("the name of an entry");
        assert_eq!(check(key, Activation::Softmax), Ok(()), "{name}");
        assert_eq!(check(key, Activation::Sigmoid).is_ok(), loss.is_defined(Activation::Sigmoid), "{name}");
    }
    let expected = "configuration: key training.loss: expected a loss for regions (dice, cross_entropy, dice_cross_entropy, \
                    tversky, tversky_cross_entropy, focal, dice_focal, topk, dice_topk), found \"weighted_cross_entropy\"";
    assert_eq!(check("weighted_cross_entropy", Activation::Sigmoid), Err(expected.to_owned()));
}
