//! Optimisers on the device against their f64 definition: ten steps of each, in windows that a tiny binding limit forces,
//! with clipping, skipped steps, and accumulation.

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;
use support::{GPU, U, compare};
use vnet_engine::exec::Executor;
use vnet_engine::gpu::Gpu;
use vnet_engine::graph::Graph;
use vnet_engine::kernel::{Arena, Operand, Target};
use vnet_engine::optim::reference::{State, average, global_norm, update as reference_update};
use vnet_engine::optim::{Optimiser, OptimiserSettings, StepScalars, accumulate, average_weight, update};
use vnet_engine::plan::{Request, Stage, plan};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{HostTensor, TensorSpec};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, optimiser) in optimisers() {
        for clip_norm in [None, Some(0.7)] {
            let settings = OptimiserSettings { optimiser, weight_decay: 0.03, clip_norm };
            let clipping = if clip_norm.is_some() { "clipped" } else { "unclipped" };
            trials.push(trial(format!("{name}/ten_steps/{clipping}"), move || ten_steps(&settings)));
        }
        let settings = OptimiserSettings { optimiser, weight_decay: 0.03, clip_norm: Some(0.7) };
        trials.push(trial(format!("{name}/norm_not_finite"), move || norm_not_finite(&settings)));
        trials.push(trial(format!("{name}/repeatable"), move || repeatable(&settings)));
    }
    trials.push(trial("accumulate".to_owned(), accumulation));
    trials.push(trial("average".to_owned(), averaging));
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: String, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, run).with_ignored_flag(GPU.is_none())
}

fn optimisers() -> [(&'static str, Optimiser); 4] {
    let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
    [
        ("sgd", Optimiser::Sgd { momentum: 0.99, nesterov: false }),
        ("nesterov", Optimiser::Sgd { momentum: 0.9, nesterov: true }),
        ("adam", Optimiser::Adam { beta1, beta2, epsilon }),
        ("adamw", Optimiser::AdamW { beta1, beta2, epsilon }),
    ]
}

const LEARNING_RATE: f64 = 0.01;

/// Arenas with an optimiser behind them, and no network.
struct Bed {
    gpu: &'static Arc<Gpu>,
    executor: Executor,
    elements: usize,
    decayed: usize,
}

impl Bed {
    /// Arenas in windows of 1024 elements; the decayed part ends within one.
    fn new(settings: &OptimiserSettings) -> Self {
        let gpu = GPU.as_ref().expect("ignored without an adapter");
        let mut graph = Graph::new();
        for (name, elements, decay) in [("a", 37_003, true), ("b", 129, false), ("c", 4021, true), ("d", 2500, false)] {
            graph.parameter(name, &[elements], ParameterLayout::Vector, decay);
        }
        let target = Target { max_binding_bytes: 4096 + 200, ..gpu.target().clone() };
        let layout = vnet_engine::plan::ArenaLayout::new(&graph);
        let update = update(settings, layout.elements, layout.decayed, &target);
        let steps = update.dispatches.iter().filter(|d| d.bindings.len() > 2).count();
        assert_eq!(steps, layout.elements.div_ceil(1024), "one kernel per window");
        assert_ne!(layout.decayed % 1024, 0, "decay ends within a window");
        let stage = Stage { name: "update", dispatches: update.dispatches, scratch: update.scratch, cost: update.cost };
        let arenas = [Arena::Parameters, Arena::Gradients, Arena::Moment1, Arena::Moment2];
        let request = Request { stages: vec![stage], arenas: &arenas, ..Request::inference(&graph, &[]) };
        let plan = plan(&request, &target).expect("the arenas fit the device");
        let executor = Executor::new(Arc::clone(gpu), plan).expect("the plan fits the device");
        for moment in [Arena::Moment1, Arena::Moment2] {
            executor.write_arena(moment, &vec![0.0; layout.elements]);
        }
        Self { gpu, executor, elements: layout.elements, decayed: layout.decayed }
    }

    /// Runs a step and returns the norm of the gradients.
    fn step(&self, settings: &OptimiserSettings, step: u64, gradients: &[f32]) -> f32 {
        self.executor.write_arena(Arena::Gradients, gradients);
        self.executor.write_step_scalars(bytemuck::bytes_of(&StepScalars::new(settings, step, LEARNING_RATE)));
        self.executor.run(1).expect("the device runs");
        let norm = self.executor.plan().stage_scratch[0][1];
        let bytes = self.executor.read_windows(&[norm]).and_then(|r| r.wait(self.gpu)).expect("the device answers");
        bytemuck::pod_read_unaligned(&bytes)
    }

    fn read(&self, arena: Arena) -> Vec<f32> {
        self.executor.read_arena(arena).expect("the device answers")
    }
}

fn normal(elements: usize, deviation: f64, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
    (0..elements).map(|_| (draw() * deviation) as f32).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn near(what: &str, found: &[f32], expected: &[f64], bound: f64) -> Result<(), Failed> {
    let tensor = |data: Vec<f64>| HostTensor::new(TensorSpec::f32([data.len()]), data);
    compare(&tensor(widen(found)), &tensor(expected.to_vec()), |_| bound).map_err(|m| format!("{what}: {m}").into())
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

fn ten_steps(settings: &OptimiserSettings) -> Result<(), Failed> {
    let bed = Bed::new(settings);
    let start = normal(bed.elements, 1.0, 1);
    let mut state = State::new(widen(&start));
    bed.executor.write_arena(Arena::Parameters, &start);
    let mut way = 0.0f64;
    for step in 1..=10 {
        // Of falling size, so that clipping at 0.7 stops in the middle: the norm is about 200 times the deviation.
        let gradients = normal(bed.elements, 0.05 * 0.5f64.powi(step as i32 - 1), 100 + step);
        let before = state.parameters.clone();
        let expected = reference_update(settings, step, LEARNING_RATE, bed.decayed, &widen(&gradients), &mut state);
        let norm = bed.step(settings, step, &gradients);
        // 64 squares in a row, by halves over 256, by halves over the workgroups, a root.
        near("norm", &[norm], &[expected], 90.0 * U * expected)?;
        let moved: Vec<f64> = before.iter().zip(&state.parameters).map(|(b, a)| a - b).collect();
        way = way.max(largest(&moved));
    }
    // Per step two roundings of the parameter, and 150 of its move: 90 of the norm and a dozen of the rest. Where the
    // decay cancels the gradient, Adam's quotient magnifies these: none of the elements comes below a tenth.
    let bound = 10.0 * U * (2.0 * largest(&state.parameters) + 1500.0 * way);
    near("parameters", &bed.read(Arena::Parameters), &state.parameters, bound)?;
    near("moment 1", &bed.read(Arena::Moment1), &state.moment1, 1500.0 * U * largest(&state.moment1))?;
    if !matches!(settings.optimiser, Optimiser::Sgd { .. }) {
        near("moment 2", &bed.read(Arena::Moment2), &state.moment2, 1500.0 * U * largest(&state.moment2))?;
    }
    Ok(())
}

fn norm_not_finite(settings: &OptimiserSettings) -> Result<(), Failed> {
    let bed = Bed::new(settings);
    bed.executor.write_arena(Arena::Parameters, &normal(bed.elements, 1.0, 1));
    bed.step(settings, 1, &normal(bed.elements, 0.01, 2));
    let arenas = [Arena::Parameters, Arena::Moment1, Arena::Moment2];
    let before = arenas.map(|a| bed.read(a));
    // The last overflows only when squared.
    for (place, value) in [(0, f32::NAN), (bed.elements - 1, f32::INFINITY), (1024, 1e30)] {
        let mut gradients = normal(bed.elements, 0.01, 3);
        gradients[place] = value;
        let norm = bed.step(settings, 2, &gradients);
        if norm.is_finite() {
            return Err(format!("the norm with {value} is {norm}").into());
        }
        if arenas.map(|a| bed.read(a)) != before {
            return Err(format!("gradient {value} changed the parameters or moments").into());
        }
    }
    let norm = bed.step(settings, 2, &normal(bed.elements, 0.01, 3));
    let after = arenas.map(|a| bed.read(a));
    if !norm.is_finite() || after[0] == before[0] || after.iter().flatten().any(|v| !v.is_finite()) {
        return Err("the step after a skipped one is not an ordinary step".into());
    }
    Ok(())
}

fn repeatable(settings: &OptimiserSettings) -> Result<(), Failed> {
    let run = || {
        let bed = Bed::new(settings);
        bed.executor.write_arena(Arena::Parameters, &normal(bed.elements, 1.0, 1));
        let norms = (1..4).map(|step| bed.step(settings, step, &normal(bed.elements, 0.1, step)).to_bits());
        (norms.collect::<Vec<_>>(), bed.read(Arena::Parameters))
    };
    if run() == run() { Ok(()) } else { Err("two runs differ".into()) }
}

/// Thirty averaged steps, and one whose norm is not finite, in windows.
fn averaging() -> Result<(), Failed> {
    let gpu = GPU.as_ref().expect("ignored without an adapter");
    let mut graph = Graph::new();
    graph.parameter("a", &[9001], ParameterLayout::Vector, true);
    let target = Target { max_binding_bytes: 4096 + 200, ..gpu.target().clone() };
    let settings = OptimiserSettings { weight_decay: 0.0, ..OptimiserSettings::default() };
    let elements = vnet_engine::plan::ArenaLayout::new(&graph).elements;
    let update = update(&settings, elements, 0, &target).averaged(elements, &target);
    let kernels = update.dispatches.iter().filter(|d| d.kernel.shader == "ema").count();
    assert_eq!(kernels, elements.div_ceil(1024), "one kernel per window");
    let stage = Stage { name: "update", dispatches: update.dispatches, scratch: update.scratch, cost: update.cost };
    let request = Request { stages: vec![stage], ..Request::inference(&graph, &[]) };
    let executor = Executor::new(Arc::clone(gpu), plan(&request, &target).expect("it fits")).expect("it fits");
    let read = |arena| executor.read_arena(arena).expect("the device answers");
    let start = normal(elements, 1.0, 1);
    executor.write_arena(Arena::Parameters, &start);
    executor.write_arena(Arena::Average, &start);
    executor.write_arena(Arena::Moment1, &vec![0.0; elements]);
    let mut expected = widen(&start);
    let mut largest_value = largest(&expected);
    for step in 1..=31 {
        let skipped = step == 17;
        let mut gradients = normal(elements, 5.0, 100 + step);
        gradients[elements / 2] = if skipped { f32::INFINITY } else { gradients[elements / 2] };
        let weight = average_weight(0.75, step);
        executor.write_arena(Arena::Gradients, &gradients);
        let scalars = StepScalars::new(&settings, step, LEARNING_RATE).averaging(weight);
        executor.write_step_scalars(bytemuck::bytes_of(&scalars));
        executor.run(1).expect("the device runs");
        if !skipped {
            average(weight, &widen(&read(Arena::Parameters)), &mut expected);
            largest_value = largest_value.max(largest(&widen(&read(Arena::Parameters))));
        }
    }
    // Per step roundings of the weight (1), the difference (2: of up to twice the largest value), the product (2) and the
    // sum (1), times weights up to 9/11; what a step has lost, later ones only shrink, by 3/4 at least behind step 26, so
    // that 27 steps count in full and the rest as a geometric series of 4.
    let bound = (27.0 + 4.0) * 6.0 * U * largest_value;
    let found = read(Arena::Average);
    near("average", &found, &expected, bound)?;
    let parameters = widen(&read(Arena::Parameters));
    let apart = found.iter().zip(&parameters).map(|(a, p)| (f64::from(*a) - p).abs()).fold(0.0, f64::max);
    // The test can fail: an average that is only a copy lies far beyond the bound.
    if apart > 1000.0 * bound { Ok(()) } else { Err(format!("the average is a copy, {apart}").into()) }
}

/// Three micro-steps into a gradient arena that an earlier step left infinite.
fn accumulation() -> Result<(), Failed> {
    let gpu = GPU.as_ref().expect("ignored without an adapter");
    let elements = 3000;
    let mut graph = Graph::new();
    graph.parameter("a", &[elements], ParameterLayout::Vector, true);
    let arenas = [Arena::Gradients, Arena::Moment1];
    let [sum, gradient] = arenas.map(|arena| Operand::Window { arena, start: 0, len: elements });
    let dispatch = accumulate(gradient, sum, elements, gpu.target());
    let stage = Stage { name: "accumulate", dispatches: vec![dispatch], scratch: Vec::new(), cost: Default::default() };
    let request = Request { stages: vec![stage], arenas: &arenas, ..Request::inference(&graph, &[]) };
    let plan = plan(&request, gpu.target()).expect("the arenas fit the device");
    let size = plan.arena.elements;
    let executor = Executor::new(Arc::clone(gpu), plan).expect("the plan fits the device");
    executor.write_arena(Arena::Gradients, &[[f32::NAN, f32::INFINITY]; 2000].concat()[..size]);
    let scalars = StepScalars::new(&OptimiserSettings::default(), 1, LEARNING_RATE);
    let mut expected = vec![0.0f32; elements];
    for micro_step in 0..3 {
        let gradients = normal(size, 1.0, micro_step as u64);
        expected.iter_mut().zip(&gradients).for_each(|(e, g)| *e += g);
        executor.write_arena(Arena::Moment1, &gradients);
        executor.write_step_scalars(bytemuck::bytes_of(&scalars.in_micro_step(micro_step)));
        executor.run(1).expect("the device runs");
    }
    let found = executor.read_arena(Arena::Gradients).expect("the device answers");
    near("sum", &found[..elements], &widen(&expected), 0.0)?;
    let norm = global_norm(&widen(&found[..elements]));
    if norm.is_finite() { Ok(()) } else { Err("the sum is not finite".into()) }
}
