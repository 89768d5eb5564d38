//! An operation that the crate does not have, with its own WGSL: the SiLU. It is compared with its definition on the device,
//! its gradient with central differences, and then it stands between two convolutions.
//!
//! `tools/with-adapter cargo run --release --example custom_op`

mod silu;

use silu::{Silu, SiluGrad};
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use vnet_engine::exec::Executor;
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::graph::{Graph, interpret, vector_jacobian};
use vnet_engine::nn::Activation;
use vnet_engine::nn::loss::{DiceCrossEntropy, Loss, LossInputs};
use vnet_engine::ops::case::{Bound, Case, Draw};
use vnet_engine::ops::{Conv3d, GRADIENT_OPS};
use vnet_engine::plan::{Request, plan};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{HostTensor, TensorSpec, ValueId};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Feeds = HashMap<ValueId, HostTensor>;

fn main() -> Outcome<()> {
    let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
    let shape = TensorSpec::f32([2, 3, 5, 7, 3]);
    // With u = 2^-24 and |x| < 4, exp(-x) is off by 3 + 2 |x| ulp, at most 22 u; the sum adds u and the division 2.5 ulp, 5 u.
    let input = (shape.clone(), Draw::Uniform(-4.0, 4.0));
    let forward = Case::new("silu", Silu, vec![input.clone()], Bound::Relative { ulps: 28.0 });
    parity(&gpu, &forward, Silu)?;
    // So s is off by 28 u, which moves f = s (1 + x (1 - s)) by 28 u s |df/ds| = 28 u s |1 + x (1 - 2 s)| < 79 u; further
    // roundings add less than 5 u, and |g| < 1. The bound is relative to the largest result, which exceeds 1/2.
    let inputs = vec![input, (shape, Draw::Uniform(-1.0, 1.0))];
    parity(&gpu, &Case::new("silu_grad", SiluGrad, inputs, Bound::Relative { ulps: 2.0 * 84.0 }), SiluGrad)?;
    central_differences(&forward)?;
    between_convolutions(&gpu)
}

/// Runs a graph on the device and reads the wanted values.
fn on_device(gpu: &Arc<Gpu>, graph: &Graph, feeds: &Feeds, wanted: &[ValueId]) -> Outcome<Vec<HostTensor>> {
    let executor = Executor::new(Arc::clone(gpu), plan(&Request::inference(graph, wanted), gpu.target())?)?;
    feeds.iter().for_each(|(value, tensor)| executor.write(*value, &tensor.to_device_bytes()));
    executor.run(0)?;
    Ok(wanted.iter().map(|&value| executor.read(value, graph.spec(value))).collect::<Result<_, _>>()?)
}

/// The device against the definition, under the bound of the case.
fn parity(gpu: &Arc<Gpu>, case: &Case, op: impl vnet_engine::graph::Op + 'static) -> Outcome<()> {
    let mut graph = Graph::new();
    let inputs: Vec<ValueId> = case.inputs.iter().map(|(spec, _)| graph.input("input", spec.clone())).collect();
    let output = graph.add(op, &inputs)?;
    let tensors = case.draw(1);
    let expected = case.op.reference(&tensors.iter().collect::<Vec<_>>()).swap_remove(0);
    let bounds = case.bounds(0, &tensors, &expected);
    let feeds = inputs.into_iter().zip(tensors).collect();
    let found = on_device(gpu, &graph, &feeds, &[output])?.swap_remove(0);
    let shares = found.data.iter().zip(&expected.data).zip(&bounds).map(|((f, e), bound)| (f - e).abs() / bound);
    let worst = shares.fold(0.0, f64::max);
    println!("{}: {} elements, worst error {worst:.3} of its bound", case.name, found.data.len());
    assert!(worst <= 1.0 && found.max_abs() > 0.5);
    Ok(())
}

/// The vector-Jacobian product against central differences of the definition, in f64.
fn central_differences(case: &Case) -> Outcome<()> {
    let mut graph = Graph::new();
    let x = graph.input("x", case.inputs[0].0.clone());
    let y = graph.add(Silu, &[x])?;
    let upstream = graph.input("upstream", graph.spec(y).clone());
    let gradient = vector_jacobian(&mut graph, y, upstream, &[x], GRADIENT_OPS)?[0].ok_or("y depends on x")?;
    let (at, direction, weights) =
        (case.draw(2).swap_remove(0), case.draw(3).swap_remove(0), case.draw(4).swap_remove(0));
    let dot = |a: &HostTensor, b: &HostTensor| a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum::<f64>();
    let moved = |step: f64| {
        let data = at.data.iter().zip(&direction.data).map(|(x, d)| x + step * d).collect();
        let feeds = Feeds::from([(x, HostTensor::new(at.spec.clone(), data)), (upstream, weights.clone())]);
        interpret(&graph, &feeds)
    };
    let step = 1e-5;
    let numeric = (dot(&moved(step)?[y.index()], &weights) - dot(&moved(-step)?[y.index()], &weights)) / (2.0 * step);
    let analytic = dot(&moved(0.0)?[gradient.index()], &direction);
    println!("gradient along a direction: {analytic:.9}, central difference {numeric:.9}");
    // Truncation is of order step^2 of the terms, rounding of order 1e-16 / step.
    assert!((numeric - analytic).abs() <= 1e-7 * analytic.abs().max(1.0), "{numeric} and {analytic}");
    Ok(())
}

/// Convolution, SiLU, convolution, loss, and the gradients of both weights: the device against the f64 interpreter.
fn between_convolutions(gpu: &Arc<Gpu>) -> Outcome<()> {
    let mut graph = Graph::new();
    let image = graph.input("image", TensorSpec::f32([1, 6, 7, 9, 2]));
    let labels = graph.input("labels", TensorSpec::u32([1, 6, 7, 9]));
    let first = graph.parameter("first.weight", &[5, 5, 5, 2, 8], ParameterLayout::Convolution, true);
    let head = graph.parameter("head.weight", &[1, 1, 1, 8, 3], ParameterLayout::Convolution, true);
    let x = graph.add(Conv3d::same(5), &[image, first])?;
    let x = graph.add(Silu, &[x])?;
    let logits = graph.add(Conv3d::same(1), &[x, head])?;
    let inputs = LossInputs::new(logits, labels, Activation::Softmax);
    let loss = DiceCrossEntropy::default().append(&mut graph, inputs)?;
    let gradients = vnet_engine::graph::gradients(&mut graph, loss, &[first, head], 1.0, GRADIENT_OPS)?;
    let mut wanted = vec![logits, loss];
    wanted.extend(gradients.into_iter().flatten());
    let draws =
        [(image, Draw::Normal(1.0)), (labels, Draw::Labels(3)), (first, Draw::Normal(0.1)), (head, Draw::Normal(0.5))];
    let inputs = draws.iter().map(|(value, draw)| (graph.spec(*value).clone(), draw.clone())).collect();
    let tensors = Case::new("network", Silu, inputs, Bound::Relative { ulps: 0.0 }).draw(5);
    let feeds: Feeds = draws.iter().map(|(value, _)| *value).zip(tensors).collect();
    let expected = interpret(&graph, &feeds)?;
    let found = on_device(gpu, &graph, &feeds, &wanted)?;
    assert_eq!(found.len(), 4);
    for (value, found) in wanted.iter().zip(&found) {
        let expected = &expected[value.index()];
        let worst = found.data.iter().zip(&expected.data).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
        println!("{}: worst error {:.1e} of the largest element", expected.spec, worst / expected.max_abs());
        // The bound of whole networks in docs/numerics.md, Winograd's kernels included.
        assert!(worst <= 1e-4 * expected.max_abs());
    }
    Ok(())
}
