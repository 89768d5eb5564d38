//! Every parameter's gradient reaches its window of the arena, also where parameters share a gradient: on the device, against the
//! f64 interpreter. Numbers are small integers and slopes powers of two, so that f32 is exact and the tolerance is zero.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use support::gpu;
use vnet_engine::exec::Executor;
use vnet_engine::graph::{Graph, interpret, vector_jacobian};
use vnet_engine::kernel::Arena;
use vnet_engine::ops::{Add, Conv3d, ConvTranspose3d, GRADIENT_OPS, Prelu, share_channel_sums};
use vnet_engine::optim::{OptimiserSettings, StepScalars, accumulate};
use vnet_engine::plan::{Accumulate, ArenaLayout, Request, plan};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{HostTensor, TensorSpec, ValueId};

fn main() {
    support::run_trials(&[
        ("biases_of_a_projection_shortcut_are_both_trained", true, biases_of_a_projection_shortcut_are_both_trained),
        ("biases_of_added_up_convolutions_are_both_trained", true, biases_of_added_up_convolutions_are_both_trained),
        ("parameters_whose_gradient_is_an_input_get_it", true, parameters_whose_gradient_is_an_input_get_it),
        ("a_gradient_that_another_gradient_reads_is_written", true, a_gradient_that_another_gradient_reads_is_written),
    ]);
}

/// A graph whose value is differentiated from an upstream gradient that is an input.
struct Case {
    graph: Graph,
    upstream: ValueId,
    gradients: Vec<ValueId>,
}

impl Case {
    fn new(mut graph: Graph, value: ValueId) -> Self {
        let upstream = graph.input("upstream", graph.spec(value).clone());
        let parameters: Vec<ValueId> = graph.parameters().iter().map(|p| p.value).collect();
        let gradients = vector_jacobian(&mut graph, value, upstream, &parameters, GRADIENT_OPS).expect("gradients");
        let gradients = gradients.into_iter().map(|g| g.expect("the value depends on every parameter")).collect();
        Self { graph, upstream, gradients }
    }

    fn sharing_channel_sums(mut self) -> Self {
        share_channel_sums(&mut self.graph, &mut self.gradients);
        self
    }

    /// Small integers for the inputs, multiples of 1/4 for the parameters.
    fn feeds(&self, run: usize) -> HashMap<ValueId, HostTensor> {
        let draw = |value: ValueId, modulus: usize, scale: f64| {
            let shape = self.graph.spec(value).shape.clone();
            let number = |i: usize| ((i + run) * 7 % modulus) as f64 - (modulus / 2) as f64;
            (value, HostTensor::from_fn(shape, |i| scale * number(i)))
        };
        let inputs = self.graph.inputs().iter().map(|&value| draw(value, 5, 1.0));
        inputs.chain(self.graph.parameters().iter().map(|p| draw(p.value, 3, 0.25))).collect()
    }

    /// What the arena holds after `runs` runs on different numbers, parameter by parameter, and what it should hold.
    fn run(&self, accumulating: bool, runs: usize) -> Vec<(String, Vec<f64>, Vec<f64>)> {
        let gpu = gpu();
        let accumulate = accumulating.then_some(accumulate as Accumulate);
        let request = Request { gradients: &self.gradients, accumulate, ..Request::inference(&self.graph, &[]) };
        let plan = plan(&request, gpu.target()).expect("it fits");
        let layout: ArenaLayout = plan.arena.clone();
        let executor = Executor::new(Arc::clone(gpu), plan).expect("it fits");
        executor.write_arena(Arena::Gradients, &vec![f32::NAN; layout.elements]);
        let mut expected: Vec<Vec<f64>> = layout.windows.iter().map(|w| vec![0.0; w.len]).collect();
        for run in 0..runs {
            let feeds = self.feeds(run);
            for (&value, tensor) in &feeds {
                executor.write(value, &tensor.to_device_bytes());
            }
            if accumulating {
                let scalars = StepScalars::new(&OptimiserSettings::default(), 1, 1.0).in_micro_step(run);
                executor.write_step_scalars(bytemuck::bytes_of(&scalars));
            }
            executor.run(0).expect("the device runs");
            let values = interpret(&self.graph, &feeds).expect("every input is fed");
            for (sum, gradient) in expected.iter_mut().zip(&self.gradients) {
                let of_run = &values[gradient.index()].data;
                sum.iter_mut().zip(of_run).for_each(|(s, g)| *s = if accumulating { *s + g } else { *g });
            }
        }
        let arena = executor.read_arena(Arena::Gradients).expect("the device answers");
        let found =
            layout.windows.iter().map(|w| arena[w.start..w.start + w.len].iter().map(|&x| f64::from(x)).collect());
        let names = self.graph.parameters().iter().map(|p| p.name.clone());
        names.zip(found).zip(expected).map(|((name, found), expected)| (name, found, expected)).collect()
    }

    fn assert_every_gradient_arrives(&self) {
        for (accumulating, runs) in [(false, 2), (true, 3)] {
            for (name, found, expected) in self.run(accumulating, runs) {
                assert!(expected.iter().any(|&g| g != 0.0), "{name} has a gradient");
                assert_eq!(found, expected, "{name}, accumulating: {accumulating}");
            }
        }
    }
}

fn convolution(graph: &mut Graph, name: &str, op: Conv3d, kernel: usize, x: ValueId, channels: usize) -> ValueId {
    let shape = [kernel, kernel, kernel, graph.spec(x).channels(), channels];
    graph.set_scope(name);
    let weight = graph.parameter(&format!("{name}.weight"), &shape, ParameterLayout::Convolution, true);
    let bias = graph.parameter(&format!("{name}.bias"), &[channels], ParameterLayout::Vector, false);
    graph.add(op, &[x, weight, bias]).expect("the shapes belong together")
}

/// Two convolutions of one input, added, then a PReLU.
fn biases_of_a_projection_shortcut_are_both_trained() {
    let case = || {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorSpec::f32([1, 3, 4, 5, 2]));
        let shortcut = convolution(&mut graph, "shortcut", Conv3d::same(1), 1, x, 3);
        let y = convolution(&mut graph, "conv", Conv3d::same(3), 3, x, 3);
        let y = graph.add(Add, &[y, shortcut]).expect("one shape");
        let slope = graph.parameter("act.weight", &[3], ParameterLayout::Vector, false);
        let y = graph.add(Prelu, &[y, slope]).expect("one slope per channel");
        Case::new(graph, y)
    };
    case().assert_every_gradient_arrives();
    let shared = case().sharing_channel_sums();
    let of = |name: &str| shared.gradients[shared.graph.parameters().iter().position(|p| p.name == name).expect(name)];
    assert_eq!(of("shortcut.bias"), of("conv.bias"), "one sum serves both");
    shared.assert_every_gradient_arrives();
}

/// The same without a PReLU, and with a transposed convolution: the sum is a node of its own.
fn biases_of_added_up_convolutions_are_both_trained() {
    let mut graph = Graph::new();
    let x = graph.input("x", TensorSpec::f32([2, 2, 4, 3, 2]));
    let fine = graph.input("fine", TensorSpec::f32([2, 4, 8, 6, 1]));
    let weight = graph.parameter("up.weight", &[2, 2, 2, 2, 3], ParameterLayout::TransposedConvolution, true);
    let bias = graph.parameter("up.bias", &[3], ParameterLayout::Vector, false);
    let up = graph.add(ConvTranspose3d { stride: [2; 3] }, &[x, weight, bias]).expect("the shapes belong together");
    let y = convolution(&mut graph, "conv", Conv3d::same(1), 1, fine, 3);
    let y = graph.add(Add, &[y, up]).expect("one shape");
    let case = Case::new(graph, y);
    case.assert_every_gradient_arrives();
    case.sharing_channel_sums().assert_every_gradient_arrives();
}

/// The gradient of both terms of a sum is the upstream gradient itself, which no node makes.
fn parameters_whose_gradient_is_an_input_get_it() {
    let mut graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.parameter(name, &[37, 3], ParameterLayout::Vector, name == "a"));
    let sum = graph.add(Add, &[a, b]).expect("one shape");
    let case = Case::new(graph, sum);
    assert_eq!(case.gradients, [case.upstream; 2]);
    case.assert_every_gradient_arrives();
}

/// The gradient of `shift` is what the gradient of `bias` is computed from: it may not lie in the arena that the latter is written
/// to, as no dispatch reads and writes one buffer.
fn a_gradient_that_another_gradient_reads_is_written() {
    let mut graph = Graph::new();
    let x = graph.input("x", TensorSpec::f32([1, 2, 3, 5, 2]));
    let y = convolution(&mut graph, "conv", Conv3d::same(1), 1, x, 4);
    let shift = graph.parameter("shift", &[1, 2, 3, 5, 4], ParameterLayout::Vector, false);
    let y = graph.add(Add, &[y, shift]).expect("one shape");
    let slope = graph.parameter("act.weight", &[4], ParameterLayout::Vector, false);
    let y = graph.add(Prelu, &[y, slope]).expect("one slope per channel");
    Case::new(graph, y).assert_every_gradient_arrives();
}
