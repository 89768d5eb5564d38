//! Shaders that a dispatch brings along, as those of other crates do: they cannot hide the crate's own, what is wrong with one
//! is an error that names it, and they are compiled with bounds checks on a device that compiles the crate's own without. An
//! optimiser's shader may be one of them.

mod support;

use std::sync::Arc;
use support::gpu;
use vnet_engine::doctor::optimisers::{Comparison, ten_steps};
use vnet_engine::exec::Executor;
use vnet_engine::gpu::{Gpu, GpuError, GpuOptions};
use vnet_engine::graph::{Graph, Lowering, Op};
use vnet_engine::kernel::Dispatch;
use vnet_engine::ops::{Add, Fill};
use vnet_engine::optim::bounds::{self, Element, FLUSHED, Step, U};
use vnet_engine::optim::{Optimiser, OptimiserSettings, RULE_SCALARS, ReferenceStep};
use vnet_engine::plan::{Request, plan};
use vnet_engine::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};

fn main() {
    support::run_trials(&[
        ("an_own_text_of_a_known_name_is_another_kernel", true, an_own_text_of_a_known_name_is_another_kernel),
        ("what_is_wrong_with_a_text_is_an_error", true, what_is_wrong_with_a_text_is_an_error),
        ("reads_beyond_a_buffer_stay_within_it", true, reads_beyond_a_buffer_stay_within_it),
        ("an_optimiser_steps_as_its_definition", true, an_optimiser_steps_as_its_definition),
    ]);
}

/// An operation on one tensor whose shader is `text` with the entry point `shader`.
#[derive(Debug)]
struct FromText {
    shader: &'static str,
    text: &'static str,
}

impl Op for FromText {
    fn name(&self) -> &'static str {
        "from_text"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let elements = at.input_spec(0).elements();
        let dispatch = Dispatch::from_wgsl(self.shader, self.text).param(elements);
        at.emit(dispatch.read(at.input(0)).write(at.output(0)).linear_grid(elements.div_ceil(64), at.target()));
    }

    fn reference(&self, _: &[&HostTensor]) -> Vec<HostTensor> {
        unreachable!("the device is compared with numbers")
    }

    fn flops(&self, _: &[&TensorSpec]) -> u64 {
        0
    }
}

/// Seven less than the input; named like a shader of the crate.
const FILL: &str = "
@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
#import grid
@compute @workgroup_size(64)
fn fill(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, grid) * 64u + local;
    if i < elements { output[i] = input[i] - 7.0; }
}";

/// A step of RMSprop (`torch.optim.RMSprop` without momentum), as another crate would write it.
const RMSPROP: &str = "
#import grid
#import step
struct Params { elements: u32, decayed: u32, clip_norm: f32, weight_decay: f32, alpha: f32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: StepScalars;
@group(0) @binding(2) var<storage, read> norm: array<u32>;
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> squares: array<f32>;
@compute @workgroup_size(256)
fn rmsprop(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    if !is_finite(norm[0]) { return; }
    let clip = clip_factor(bitcast<f32>(norm[0]), params.clip_norm);
    let first = linear_workgroup(workgroup, grid) * 1024u + local;
    for (var i = first; i < min(first + 1024u, params.elements); i += 256u) {
        let decay = select(0.0, params.weight_decay, i < params.decayed);
        let g = clip * gradients[i] + decay * parameters[i];
        squares[i] = params.alpha * squares[i] + (1.0 - params.alpha) * g * g;
        parameters[i] -= step.rule[0] * g / (sqrt(squares[i]) + params.epsilon);
    }
}";

#[derive(Debug)]
struct RmsProp {
    alpha: f64,
    epsilon: f64,
}

impl Optimiser for RmsProp {
    fn kernel(&self) -> Dispatch {
        Dispatch::from_wgsl("rmsprop", RMSPROP)
    }

    fn moments(&self) -> usize {
        1
    }

    fn flops(&self) -> u64 {
        10
    }

    fn constants(&self, dispatch: Dispatch) -> Dispatch {
        dispatch.scalar(self.alpha as f32).scalar(self.epsilon as f32)
    }

    fn scalars(&self, _: u64, learning_rate: f64) -> [f64; RULE_SCALARS] {
        [learning_rate, 0.0, 0.0, 0.0]
    }

    fn reference(&self, step: &ReferenceStep, gradient: f64, parameter: &mut f64, [square, _]: [&mut f64; 2]) {
        let g = gradient + step.weight_decay * *parameter;
        *square = self.alpha * *square + (1.0 - self.alpha) * g * g;
        *parameter -= step.learning_rate * g / (square.sqrt() + self.epsilon);
    }

    fn errors(&self, step: &Step, element: &Element, [of_parameter, of_square, _]: [f64; 3]) -> [f64; 3] {
        let (g, of_gradient) = step.decayed(element, of_parameter);
        let ([parameter, square, _], rest) = (element.after, 1.0 - self.alpha);
        // alpha s: the constant and the product; the device takes 1 - alpha from the rounded alpha, rounded again.
        let of_kept = self.alpha * (of_square + 2.0 * U * element.moments[0]);
        let of_rest = U * self.alpha + U * rest;
        let of_new =
            rest * (2.0 * g.abs() * of_gradient + of_gradient * of_gradient) + (of_rest + 2.0 * U * rest) * g * g;
        let of_square = of_kept + of_new + U * square + FLUSHED;
        let divisor = square.sqrt() + self.epsilon;
        let of_divisor = bounds::root(square, of_square) + U * self.epsilon + U * divisor;
        let numerator = step.rate * g;
        let of_numerator = step.rate * of_gradient + 2.0 * U * numerator.abs();
        let of_move = bounds::quotient((numerator, of_numerator), (divisor, of_divisor), 0.5 * self.epsilon);
        [of_parameter + of_move + U * parameter.abs(), of_square, 0.0]
    }
}

/// Reads 2^30 elements past its own, and does not ask whether its own exists.
const BEYOND: &str = "
@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@compute @workgroup_size(64)
fn beyond(@builtin(global_invocation_id) id: vec3<u32>) {
    output[id.x] = input[id.x + 0x40000000u];
}";

fn run(gpu: &Arc<Gpu>, graph: &Graph, x: ValueId, wanted: &[ValueId]) -> Result<Vec<HostTensor>, GpuError> {
    let plan = plan(&Request::inference(graph, wanted), gpu.target()).expect("it fits");
    let executor = Executor::new(Arc::clone(gpu), plan)?;
    let input = HostTensor::from_fn(graph.spec(x).shape.clone(), |i| i as f64 - 20.0);
    executor.write(x, &input.to_device_bytes());
    executor.run(0)?;
    wanted.iter().map(|&value| executor.read(value, graph.spec(value))).collect()
}

fn an_own_text_of_a_known_name_is_another_kernel() {
    let mut graph = Graph::new();
    let spec = TensorSpec::f32([3, 41]);
    let x = graph.input("x", spec.clone());
    let ours = graph.append(Box::new(Fill { spec, value: 0.5 }), &[]).expect("no inputs")[0];
    let theirs = graph.add(FromText { shader: "fill", text: FILL }, &[x]).expect("one tensor");
    let sum = graph.add(Add, &[ours, theirs]).expect("one shape");
    let kernels = plan(&Request::inference(&graph, &[sum]), gpu().target()).expect("it fits").kernels;
    assert_eq!(kernels.iter().filter(|kernel| kernel.shader == "fill").count(), 2);
    let found = run(gpu(), &graph, x, &[ours, sum]).expect("both shaders are right");
    assert!(found[0].data.iter().all(|&value| value == 0.5));
    assert!(found[1].data.iter().enumerate().all(|(i, &value)| value == i as f64 - 26.5));
}

fn an_optimiser_steps_as_its_definition() {
    let rule = RmsProp { alpha: 0.99, epsilon: 1e-8 };
    let settings = OptimiserSettings { weight_decay: 0.03, clip_norm: Some(0.7), ..OptimiserSettings::new(rule) };
    let comparisons = ten_steps(gpu(), gpu().target(), &settings).expect("it fits");
    for name in ["parameters", "moment 1"] {
        assert!(comparisons.iter().any(|comparison| comparison.what == name), "{name} are compared");
    }
    for Comparison { what, found, expected, bounds, .. } in comparisons {
        assert_eq!(found.len(), expected.len(), "{what}");
        for ((found, expected), bound) in found.iter().zip(&expected).zip(&bounds) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= *bound, "{what}: {found} is off {expected} by {error}, bound {bound}");
        }
    }
}

fn what_is_wrong_with_a_text_is_an_error() {
    let reason = |shader: &'static str, text: &'static str| {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorSpec::f32([5]));
        let y = graph.add(FromText { shader, text }, &[x]).expect("one tensor");
        match run(gpu(), &graph, x, &[y]) {
            Err(GpuError::Pipeline { shader: named, reason }) if named == shader => reason,
            other => panic!("{shader}: {other:?}"),
        }
    };
    assert!(reason("nonsense", "fn nonsense( {").contains("expected"));
    assert!(reason("other_name", FILL).contains("other_name"));
    assert!(reason("imports", "#import nothing").contains("nothing"));
    // One binding more than the dispatch has.
    let text = "
@group(0) @binding(7) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@compute @workgroup_size(1)
fn binds() { output[0] = input[0]; }";
    assert!(!reason("binds", text).is_empty());
}

fn reads_beyond_a_buffer_stay_within_it() {
    let unchecked = Arc::new(Gpu::open(&GpuOptions::default()).expect("the adapter was opened before"));
    let mut graph = Graph::new();
    let x = graph.input("x", TensorSpec::f32([41]));
    let y = graph.add(FromText { shader: "beyond", text: BEYOND }, &[x]).expect("one tensor");
    let found = run(&unchecked, &graph, x, &[y]).expect("the device goes on").swap_remove(0);
    // An index out of bounds reads some element of the buffer, or zero, as WGSL says.
    assert!(found.data.iter().all(|&value| value == 0.0 || (-20.0..=20.0).contains(&value)), "{found:?}");
    unchecked.wait().expect("the device is whole");
}
