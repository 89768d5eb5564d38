//! Every case of every operation: device against the f64 definition, exactness on integers, forward against backward on
//! the device, and the gradient against central differences in f64. One test per case and question.

mod support;
#[path = "ops/variants.rs"]
mod variants;

use libtest_mimic::{Arguments, Failed, Trial};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use support::{compare, execute, executor, run};
use variants::{Variant, every_kernel_of_a_convolution_is_lowered_in_parts, in_one};
use vnet_engine::gpu::Gpu;
use vnet_engine::graph::{Graph, interpret, vector_jacobian};
use vnet_engine::kernel::Target;
use vnet_engine::ops::case::Case;
use vnet_engine::ops::{Add, GRADIENT_OPS, cases};
use vnet_engine::tensor::{DType, HostTensor, TensorSpec, ValueId};

static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases);

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for case in CASES.iter().filter(|case| !case.benchmark_only) {
        for variant in Variant::of(case) {
            let name = format!("{}/{}", case.name, variant.name);
            let trial = Trial::test(name, move || on_device(case, &variant));
            trials.push(trial.with_ignored_flag(variant.gpu().is_none()));
        }
        if case.differentiable {
            trials.push(Trial::test(format!("{}/gradient", case.name), move || gradient(case)));
        }
    }
    trials.push(Trial::test("every_kernel_of_a_convolution_is_lowered_in_parts", || {
        every_kernel_of_a_convolution_is_lowered_in_parts();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

/// A graph of the case's operation alone.
fn alone(case: &Case) -> Result<(Graph, Vec<ValueId>, Vec<ValueId>), Failed> {
    let mut graph = Graph::new();
    let inputs: Vec<ValueId> =
        case.inputs.iter().enumerate().map(|(i, (spec, _))| graph.input(&format!("input{i}"), spec.clone())).collect();
    let outputs = graph.append_shared(case.op.clone(), &inputs)?;
    Ok((graph, inputs, outputs))
}

fn on_device(case: &Case, variant: &Variant) -> Result<(), Failed> {
    let gpu = variant.gpu().expect("ignored without an adapter");
    let target = variant.target(case, gpu.target());
    let (graph, inputs, outputs) = alone(case)?;
    let executor = executor(gpu, &target, &graph, &outputs);
    let feed =
        |tensors: Vec<HostTensor>| -> Vec<(ValueId, HostTensor)> { inputs.iter().copied().zip(tensors).collect() };
    let tensors = case.draw(1);
    let expected = case.op.reference(&tensors.iter().collect::<Vec<_>>());
    let found = execute(&executor, &graph, &feed(tensors.clone()), &outputs);
    if variant.in_parts {
        let whole = run(gpu, &in_one(&target), &graph, &feed(tensors.clone()), &outputs);
        assert_eq!(found, whole, "parts give the bits of the whole");
    }
    if let (Some(error), true) = (case.winograd.map(|w| w.error), variant.is_winograd()) {
        let kernels = &executor.plan().kernels;
        assert!(kernels.iter().any(|k| k.shader.starts_with("winograd")), "{kernels:?}");
        variant.check_division(case, executor.plan());
        for (f, e) in found.iter().zip(&expected) {
            compare(f, e, |_| error).map_err(|m| format!("{}: {m}", case.name))?;
            let relative = norm(f.data.iter().zip(&e.data).map(|(f, e)| f - e)) / norm(e.data.iter().copied());
            if relative > 5e-5 {
                return Err(format!("{}: relative error {relative:e} in the 2-norm", case.name).into());
            }
        }
        return Ok(());
    }
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        within(case, i, &tensors, f, e).map_err(|m| format!("{} output {i}: {m}", case.name))?;
    }
    if case.exact_on_integers {
        let tensors = case.draw_integers(2);
        let expected = case.op.reference(&tensors.iter().collect::<Vec<_>>());
        let found = execute(&executor, &graph, &feed(tensors), &outputs);
        for (f, e) in found.iter().zip(&expected) {
            compare(f, e, |_| 0.0).map_err(|m| format!("{} on integers: {m}", case.name))?;
        }
        if case.differentiable {
            adjoint(case, gpu, &target)?;
        }
    }
    Ok(())
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

fn within(
    case: &Case,
    output: usize,
    tensors: &[HostTensor],
    found: &HostTensor,
    expected: &HostTensor,
) -> Result<(), String> {
    let bounds = case.bounds(output, tensors, expected);
    compare(found, expected, |i| bounds[i])
}

/// `<y, f(x + v) - f(x)> = <v, J^T y>` for each input, exactly, on integers: forward and backward on the device agree.
fn adjoint(case: &Case, gpu: &Arc<Gpu>, target: &Target) -> Result<(), Failed> {
    let (mut graph, inputs, outputs) = alone(case)?;
    let upstream = graph.input("upstream", graph.spec(outputs[0]).clone());
    let wrt = differentiated(case, &graph, &inputs);
    let gradients = vector_jacobian(&mut graph, outputs[0], upstream, &wrt, GRADIENT_OPS)?;
    let x = case.draw_integers(3);
    let v = case.draw_integers(4);
    let y = integers(graph.spec(outputs[0]), 5);
    let wanted: Vec<ValueId> = gradients.iter().map(|g| g.expect("the output depends on every f32 input")).collect();
    let feeds = |x: &[HostTensor]| {
        let mut feeds: Vec<_> = inputs.iter().copied().zip(x.iter().cloned()).collect();
        feeds.push((upstream, y.clone()));
        feeds
    };
    let gradients = run(gpu, target, &graph, &feeds(&x), &wanted);
    let forward = executor(gpu, target, &graph, &outputs);
    let base = execute(&forward, &graph, &feeds(&x), &outputs).swap_remove(0);
    for (k, gradient) in gradients.iter().enumerate() {
        let i = inputs.iter().position(|p| *p == wrt[k]).expect("wrt are inputs");
        let mut moved = x.clone();
        moved[i].data.iter_mut().zip(&v[i].data).for_each(|(a, b)| *a += b);
        let there = execute(&forward, &graph, &feeds(&moved), &outputs).swap_remove(0);
        let forward: f64 = there.data.iter().zip(&base.data).zip(&y.data).map(|((t, b), y)| (t - b) * y).sum();
        let backward = dot(&v[i], gradient);
        if forward != backward {
            return Err(format!("{} input {i}: <y, A v> = {forward}, <v, A^T y> = {backward}", case.name).into());
        }
    }
    Ok(())
}

/// The inputs of f32 that have a gradient.
fn differentiated(case: &Case, graph: &Graph, inputs: &[ValueId]) -> Vec<ValueId> {
    let is_moved =
        |&(i, &input): &(usize, &ValueId)| graph.spec(input).dtype == DType::F32 && !case.constants.contains(&i);
    inputs.iter().enumerate().filter(is_moved).map(|(_, &input)| input).collect()
}

fn integers(spec: &TensorSpec, seed: u64) -> HostTensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    HostTensor::new(spec.clone(), (0..spec.elements()).map(|_| f64::from(rng.random_range(-3..=3i32))).collect())
}

fn dot(a: &HostTensor, b: &HostTensor) -> f64 {
    a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum()
}

/// The case's operation in the middle of a graph: each f32 argument is a sum, and so is the output.
struct Middle {
    graph: Graph,
    inputs: Vec<ValueId>,
    /// What is added to each input; none for labels and constants.
    shifts: Vec<Option<ValueId>>,
    output: ValueId,
}

fn middle(case: &Case) -> Result<Middle, Failed> {
    let mut graph = Graph::new();
    let mut inputs = Vec::new();
    let mut shifts = Vec::new();
    let mut arguments = Vec::new();
    for (i, (spec, _)) in case.inputs.iter().enumerate() {
        let input = graph.input(&format!("input{i}"), spec.clone());
        let is_moved = spec.dtype == DType::F32 && !case.constants.contains(&i);
        let shift = is_moved.then(|| graph.input(&format!("shift{i}"), spec.clone()));
        arguments.push(match shift {
            Some(shift) => graph.add(Add, &[input, shift])?,
            None => input,
        });
        inputs.push(input);
        shifts.push(shift);
    }
    let output = graph.append_shared(case.op.clone(), &arguments)?[0];
    let output = graph.add(Add, &[output, output])?;
    Ok(Middle { graph, inputs, shifts, output })
}

/// Central differences in f64 along random directions and single elements, with the operation in the middle of a graph
/// and a random upstream gradient.
fn gradient(case: &Case) -> Result<(), Failed> {
    let forward = middle(case)?;
    let Middle { mut graph, inputs, shifts, output } = middle(case)?;
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut random = |spec: &TensorSpec| {
        HostTensor::new(spec.clone(), (0..spec.elements()).map(|_| rng.random_range(-1.0..1.0)).collect())
    };
    let mut feeds = HashMap::new();
    for ((tensor, &input), shift) in case.draw(7).into_iter().zip(&inputs).zip(&shifts) {
        let Some(shift) = *shift else {
            feeds.insert(input, tensor);
            continue;
        };
        // input + shift is the drawn tensor, so that the operation sees what the case draws.
        let shifts = random(&tensor.spec);
        let rest = tensor.data.iter().zip(&shifts.data).map(|(t, s)| t - s).collect();
        feeds.insert(input, HostTensor::new(tensor.spec, rest));
        feeds.insert(shift, shifts);
    }
    let y = random(graph.spec(output));
    let upstream = graph.input("upstream", y.spec.clone());
    feeds.insert(upstream, y.clone());
    let wrt = differentiated(case, &graph, &inputs);
    let gradients = vector_jacobian(&mut graph, output, upstream, &wrt, GRADIENT_OPS)?;
    let values = interpret(&graph, &feeds)?;
    for (&input, gradient) in wrt.iter().zip(gradients) {
        let gradient = &values[gradient.expect("the output depends on every f32 input").index()];
        for trial in 0..6 {
            let direction = direction(gradient, trial, &mut rng);
            let step = 1e-5;
            let at = |sign: f64| -> Result<f64, Failed> {
                let mut moved = feeds.clone();
                let tensor = moved.get_mut(&input).expect("every input is fed");
                tensor.data.iter_mut().zip(&direction).for_each(|(x, d)| *x += sign * step * d);
                Ok(dot(&interpret(&forward.graph, &moved)?[forward.output.index()], &y))
            };
            let numeric = (at(1.0)? - at(-1.0)?) / (2.0 * step);
            let products = gradient.data.iter().zip(&direction).map(|(g, d)| g * d);
            let analytic: f64 = products.clone().sum();
            // Truncation is of order step^2 = 1e-10, rounding of order 1e-16 / step = 1e-11 of the terms.
            let scale = products.map(f64::abs).sum::<f64>() + dot_abs(&values[output.index()], &y);
            let fine = (numeric - analytic).abs() <= 1e-7 * scale;
            if !fine {
                let name = &graph.values()[input.index()].name;
                let message = format!("central difference {numeric}, vector-Jacobian product {analytic}");
                return Err(format!("{} {name}: {message}", case.name).into());
            }
        }
    }
    Ok(())
}

fn dot_abs(a: &HostTensor, b: &HostTensor) -> f64 {
    a.data.iter().zip(&b.data).map(|(a, b)| (a * b).abs()).sum()
}

/// A random direction, or (odd trials) a single element.
fn direction(gradient: &HostTensor, trial: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let len = gradient.data.len();
    if trial.is_multiple_of(2) {
        return (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
    }
    let mut single = vec![0.0; len];
    single[rng.random_range(0..len)] = 1.0;
    single
}
