//! Every case of every operation: device against the f64 definition, exactness on integers, forward against backward on
//! the device, and the gradient against central differences in f64. One test per case and question.

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use support::{GPU, WEBGPU, as_gpu, compare, execute, executor, llvmpipe, run};
use vnet_engine::gpu::Gpu;
use vnet_engine::graph::{Graph, interpret, vector_jacobian};
use vnet_engine::kernel::{Algorithms, Target, Tuning};
use vnet_engine::ops::case::Case;
use vnet_engine::ops::{Add, GRADIENT_OPS, cases};
use vnet_engine::plan::{Plan, Request, plan};
use vnet_engine::tensor::{DType, HostTensor, TensorSpec, ValueId};

fn main() {
    let arguments = Arguments::from_args();
    let count = cases().len();
    let mut trials = Vec::new();
    for i in (0..count).filter(|&i| !cases()[i].benchmark_only) {
        let case = &cases()[i];
        for variant in Variant::of(case) {
            let name = format!("{}/{}", case.name, variant.name);
            let trial = Trial::test(name, move || on_device(&cases()[i], &variant));
            trials.push(trial.with_ignored_flag(variant.gpu().is_none()));
        }
        if case.differentiable {
            trials.push(Trial::test(format!("{}/gradient", case.name), move || gradient(&cases()[i])));
        }
    }
    trials.push(Trial::test("every_kernel_of_a_convolution_is_lowered_in_parts", || {
        every_kernel_of_a_convolution_is_lowered_in_parts();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

/// How a case is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Variant {
    name: &'static str,
    algorithms: Algorithms,
    plan: PlannedFor,
    /// How Winograd's convolution is divided.
    division: Division,
    /// The work of a submission is so small that dispatches are lowered in parts.
    in_parts: bool,
}

/// Limits and tuning of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
enum PlannedFor {
    /// Those of the adapter.
    Adapter,
    /// WebGPU's default limits, without optional features, on a device that was opened with these.
    WebGpu,
    /// A large GPU; the adapter runs it all the same.
    Gpu,
}

/// A division of Winograd's convolution that small shapes reach by tuning, and the paper's by their size.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Division {
    /// As tuned: one chunk, in which the largest of these shapes go frequency by frequency along z.
    Whole,
    /// A chunk per row of tiles, frequency by frequency along z.
    Rows,
    /// Chunks of about half of the tiles: several slabs, the last one smaller where that does not come out even.
    Halves,
    /// Weights slice by slice.
    Slices,
}

impl Variant {
    const fn new(name: &'static str, algorithms: Algorithms, plan: PlannedFor) -> Self {
        Self { name, algorithms, plan, division: Division::Whole, in_parts: false }
    }

    const fn divided(name: &'static str, plan: PlannedFor, division: Division) -> Self {
        Self { division, ..Self::new(name, Algorithms::Winograd, plan) }
    }

    const fn parts(name: &'static str, algorithms: Algorithms, plan: PlannedFor) -> Self {
        Self { in_parts: true, ..Self::new(name, algorithms, plan) }
    }
}

/// Of every operation.
const VARIANTS: [Variant; 4] = [
    Variant::new("Direct", Algorithms::Direct, PlannedFor::Adapter),
    Variant::new("Naive", Algorithms::Naive, PlannedFor::Adapter),
    Variant::new("WebGpu", Algorithms::Direct, PlannedFor::WebGpu),
    Variant::new("Gpu", Algorithms::Direct, PlannedFor::Gpu),
];

/// Of every convolution, besides.
const PARTS: [Variant; 3] = [
    Variant::parts("DirectParts", Algorithms::Direct, PlannedFor::Adapter),
    Variant::parts("NaiveParts", Algorithms::Naive, PlannedFor::Adapter),
    Variant::parts("GpuParts", Algorithms::Direct, PlannedFor::Gpu),
];

/// Of every 5x5x5 convolution, besides.
const WINOGRAD: [Variant; 11] = [
    Variant::new("Winograd", Algorithms::Winograd, PlannedFor::Adapter),
    Variant::new("WinogradWebGpu", Algorithms::Winograd, PlannedFor::WebGpu),
    Variant::new("WinogradGpu", Algorithms::Winograd, PlannedFor::Gpu),
    Variant::divided("WinogradRows", PlannedFor::Adapter, Division::Rows),
    Variant::divided("WinogradHalves", PlannedFor::Adapter, Division::Halves),
    Variant::divided("WinogradSlices", PlannedFor::Adapter, Division::Slices),
    Variant::divided("WinogradGpuRows", PlannedFor::Gpu, Division::Rows),
    Variant::divided("WinogradGpuHalves", PlannedFor::Gpu, Division::Halves),
    Variant::divided("WinogradGpuSlices", PlannedFor::Gpu, Division::Slices),
    Variant::parts("WinogradParts", Algorithms::Winograd, PlannedFor::Adapter),
    Variant::parts("WinogradGpuParts", Algorithms::Winograd, PlannedFor::Gpu),
];

impl Variant {
    fn of(case: &Case) -> Vec<Self> {
        let mut variants = VARIANTS.to_vec();
        if case.op.name().starts_with("conv") {
            variants.extend(PARTS);
        }
        if case.winograd.is_some() {
            variants.extend(WINOGRAD);
        }
        variants
    }

    fn is_winograd(&self) -> bool {
        self.algorithms == Algorithms::Winograd
    }

    fn gpu(&self) -> Option<&'static Arc<Gpu>> {
        match self.plan {
            PlannedFor::WebGpu => WEBGPU.as_ref(),
            PlannedFor::Adapter | PlannedFor::Gpu => GPU.as_ref(),
        }
    }

    /// The target on a device.
    fn target(&self, case: &Case, device: &Target) -> Target {
        let device = if self.plan == PlannedFor::Gpu { as_gpu(device) } else { device.clone() };
        let mut target = device.with_algorithms(self.algorithms);
        let winograd = &mut target.tuning.winograd;
        match self.division {
            Division::Whole => {}
            Division::Rows => winograd.part_bytes = 1,
            Division::Halves => winograd.part_bytes = Tiles::of(case).half_bytes(),
            Division::Slices => winograd.weight_bytes = 0,
        }
        if self.in_parts {
            // A fraction that leaves parts of several workgroups or products, and uneven ones.
            let parts = if self.is_winograd() { 300 } else { 7 };
            target.tuning.submission_flops = (flops(case) / parts).max(1);
        }
        target
    }

    /// Whether the plan is divided as the variant says: what it was made for cannot be missed.
    fn check_division(&self, case: &Case, plan: &Plan) {
        let count = |shader: &str| {
            let dispatches = &plan.programs[0].dispatches;
            dispatches.iter().filter(|d| plan.kernels[d.kernel].shader == shader).count()
        };
        let (chunks, planes) = (count("winograd_source_depth"), count("winograd_source_plane"));
        let slices = count("winograd_weight_plane") + count("winograd_grad_weight_plane");
        let rows = Tiles::of(case).rows();
        match self.division {
            Division::Whole => {
                assert!(chunks == 1 && slices == 1 && [1, 8].contains(&planes), "{chunks}, {planes}, {slices}")
            }
            Division::Rows => assert_eq!((chunks, planes, slices), (rows, 8 * rows, 1)),
            Division::Halves => {
                assert!((rows.min(2)..=rows).contains(&chunks), "{chunks} chunks of {rows} rows");
                assert_eq!((planes, slices), (8 * chunks, 1));
            }
            Division::Slices => assert_eq!((chunks, planes, slices), (1, 8, 8)),
        }
    }
}

fn flops(case: &Case) -> u64 {
    case.op.flops(&case.inputs.iter().map(|(spec, _)| spec).collect::<Vec<_>>())
}

/// Tiles of 4 x 4 x 4 outputs of a 5x5x5 convolution, and the most channels on either side.
struct Tiles {
    tiles: [usize; 4],
    channels: usize,
}

impl Tiles {
    fn of(case: &Case) -> Self {
        let [n, d, h, w, _] = case.inputs[0].0.shape[..] else { panic!("an activation [N, D, H, W, C]") };
        // Weights [5, 5, 5, Cin, Cout], or the gradient of the output.
        let other = &case.inputs[1].0.shape;
        let weights = if case.op.name() == "conv3d_grad_weight" { &other[4..] } else { &other[3..] };
        let channels = weights.iter().copied().max().expect("channels").max(case.inputs[0].0.channels());
        Self { tiles: [n, d.div_ceil(4), h.div_ceil(4), w.div_ceil(4)], channels }
    }

    fn rows(&self) -> usize {
        self.tiles[..3].iter().product()
    }

    /// Bytes of the 64 frequencies of a plane of half of the tiles.
    fn half_bytes(&self) -> usize {
        let padded = if self.channels <= 8 { 8 } else { self.channels.next_multiple_of(16) };
        64 * 4 * padded * self.tiles.iter().product::<usize>().div_ceil(2)
    }
}

/// A graph of the case's operation alone.
fn alone(case: &Case) -> Result<(Graph, Vec<ValueId>, Vec<ValueId>), Failed> {
    let mut graph = Graph::new();
    let inputs: Vec<ValueId> =
        case.inputs.iter().enumerate().map(|(i, (spec, _))| graph.input(&format!("input{i}"), spec.clone())).collect();
    let outputs = graph.append(case_op(case), &inputs)?;
    Ok((graph, inputs, outputs))
}

/// The operation once more: cases are built anew, since a graph takes its operations.
fn case_op(case: &Case) -> Box<dyn vnet_engine::graph::Op> {
    cases().into_iter().find(|c| c.name == case.name).expect("cases have unique names").op
}

/// The plans of the variants in parts, on a device with the kernels for subgroups of eight: each kernel that works on taps or
/// products is lowered in parts in some case.
fn every_kernel_of_a_convolution_is_lowered_in_parts() {
    let mut split = BTreeSet::new();
    let mut whole = BTreeSet::new();
    for case in cases().into_iter().filter(|c| !c.benchmark_only) {
        for variant in Variant::of(&case).into_iter().filter(|v| v.in_parts) {
            let (graph, _, outputs) = alone(&case).expect("a case is well-formed");
            let target = variant.target(&case, &llvmpipe());
            let unsplit = Target { tuning: Tuning { submission_flops: u64::MAX, ..target.tuning }, ..target.clone() };
            let plans = [&target, &unsplit].map(|t| plan(&Request::inference(&graph, &outputs), t).expect("it fits"));
            let [parts, one] = plans.map(|plan| {
                let mut counts: HashMap<&str, usize> = HashMap::new();
                for dispatch in &plan.programs[0].dispatches {
                    *counts.entry(plan.kernels[dispatch.kernel].shader).or_default() += 1;
                }
                counts
            });
            split.extend(parts.iter().filter(|(shader, count)| *count > &one[*shader]).map(|(shader, _)| *shader));
            whole.extend(parts.keys().copied());
        }
    }
    let unsplit: Vec<&str> = whole.difference(&split).copied().filter(|s| !s.starts_with("winograd")).collect();
    // These move weights and partial sums.
    assert_eq!(unsplit, ["conv3d_sum_shares", "weight_turned"]);
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
        let whole = Target { tuning: Tuning { submission_flops: u64::MAX, ..target.tuning }, ..target.clone() };
        let whole = run(gpu, &whole, &graph, &feed(tensors.clone()), &outputs);
        assert_eq!(found, whole, "parts give the bits of the whole");
    }
    if let (Some(error), true) = (case.winograd, variant.is_winograd()) {
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
    let wrt: Vec<ValueId> = inputs.iter().copied().filter(|&i| graph.spec(i).dtype == DType::F32).collect();
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
    /// What is added to each input; none for labels.
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
        let shift = (spec.dtype == DType::F32).then(|| graph.input(&format!("shift{i}"), spec.clone()));
        arguments.push(match shift {
            Some(shift) => graph.add(Add, &[input, shift])?,
            None => input,
        });
        inputs.push(input);
        shifts.push(shift);
    }
    let output = graph.append(case_op(case), &arguments)?[0];
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
    let wrt: Vec<ValueId> = inputs.iter().copied().filter(|&i| graph.spec(i).dtype == DType::F32).collect();
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
