//! Self-tests of the optimisers' kernels, on arenas without a network: what `vnet-engine doctor` and the tests compare.

use super::{DoctorError, KernelTest, worst};
use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::graph::Graph;
use crate::kernel::{Arena, Operand, Target};
use crate::optim::reference::{self, State};
use crate::optim::{OptimiserSettings, Optimisers, StepScalars, accumulate, average_weight, bounds, update};
use crate::plan::{ArenaLayout, Request, Stage, plan};
use crate::random::{Purpose, Stream};
use crate::registry::cases;
use crate::tensor::TensorSpec;
use crate::tensor::layout::ParameterLayout;
use std::sync::Arc;

const LEARNING_RATE: f64 = 0.01;

/// Steps of [`ten_steps`].
const STEPS: u32 = 10;

/// Part of the way that the statistics of [`following`] move.
const MOMENTUM: f32 = 0.1;

/// Decay of the averages in [`averaging`].
const DECAY: f64 = 0.75;

/// What a device found, beside the definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is compared, for people.
    pub what: String,
    /// The kernels that it depends on first.
    pub kernels: Vec<&'static str>,
    /// Of the device.
    pub found: Vec<f32>,
    /// By the definition.
    pub expected: Vec<f64>,
    /// How far each element may be off.
    pub bounds: Vec<f64>,
}

/// The optimisers that are tried, by name, with weight decay and clipping at this norm.
pub fn optimisers(clip_norm: Option<f64>) -> Vec<(&'static str, OptimiserSettings)> {
    let settings = |optimiser| OptimiserSettings { optimiser, weight_decay: 0.03, clip_norm };
    cases::<Optimisers>().into_iter().map(|(name, optimiser)| (name, settings(optimiser))).collect()
}

/// The kernels that are tried without a plan of a graph.
#[cfg(test)]
pub(super) fn kernels() -> Vec<&'static str> {
    let shared = ["accumulate", "ema", "follow", "gradient_norm", "squares"].into_iter();
    shared.chain(optimisers(None).iter().map(|(_, settings)| kernel(settings))).collect()
}

fn kernel(settings: &OptimiserSettings) -> &'static str {
    settings.optimiser.kernel().kernel.shader
}

/// Arenas with an optimiser, and no network.
#[derive(Debug)]
pub struct Bed {
    gpu: Arc<Gpu>,
    settings: OptimiserSettings,
    executor: Executor,
    /// Elements of each arena.
    pub elements: usize,
    /// How many of them, from the first, are subject to weight decay.
    pub decayed: usize,
}

impl Bed {
    /// Arenas in windows as `target` asks for them, with moments of 0; the averages are kept too.
    ///
    /// # Errors
    /// [`DoctorError`] when the arenas do not fit the device.
    pub fn new(gpu: &Arc<Gpu>, target: &Target, settings: &OptimiserSettings) -> Result<Self, DoctorError> {
        let mut graph = Graph::new();
        for (name, elements, decay) in [("a", 37_003, true), ("b", 129, false), ("c", 4021, true), ("d", 2500, false)] {
            graph.parameter(name, &[elements], ParameterLayout::Vector, decay);
        }
        let ArenaLayout { elements, decayed, .. } = ArenaLayout::new(&graph);
        let update = update(settings, elements, decayed, target).averaged(elements, target);
        let stage = Stage { name: "update", dispatches: update.dispatches, scratch: update.scratch, cost: update.cost };
        let arenas = [Arena::Parameters, Arena::Gradients, Arena::Moment1, Arena::Moment2];
        let request = Request { stages: vec![stage], arenas: &arenas, ..Request::inference(&graph, &[]) };
        let executor = Executor::new(Arc::clone(gpu), plan(&request, target)?)?;
        for arena in [Arena::Moment1, Arena::Moment2, Arena::Average] {
            executor.write_arena(arena, &vec![0.0; elements]);
        }
        Ok(Self { gpu: Arc::clone(gpu), settings: settings.clone(), executor, elements, decayed })
    }

    /// Writes the parameters, which are also the averages then.
    pub fn start(&self, parameters: &[f32]) {
        self.executor.write_arena(Arena::Parameters, parameters);
        self.executor.write_arena(Arena::Average, parameters);
    }

    /// Runs step `step`, counted from 1, and returns the norm of the gradients.
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    pub fn step(&self, step: u64, gradients: &[f32]) -> Result<f32, GpuError> {
        let scalars = StepScalars::new(&self.settings, step, LEARNING_RATE).averaging(average_weight(DECAY, step));
        self.executor.write_arena(Arena::Gradients, gradients);
        self.executor.write_step_scalars(bytemuck::bytes_of(&scalars));
        self.executor.run(1)?;
        let norm = self.executor.plan().stage_scratch[0][1];
        let bytes = self.executor.read_windows(&[norm])?.wait(&self.gpu)?;
        Ok(bytemuck::pod_read_unaligned(&bytes))
    }

    /// Reads an arena.
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    pub fn read(&self, arena: Arena) -> Result<Vec<f32>, GpuError> {
        self.executor.read_arena(arena)
    }
}

/// Normal numbers of a standard deviation, a pure function of `seed`.
pub fn normal(elements: usize, deviation: f64, seed: u64) -> Vec<f32> {
    let normals = Stream::new(seed, Purpose::TestInputs, 0).normals();
    normals.take(elements).map(|x| (x * deviation) as f32).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Ten steps of an optimiser: the norm of each step's gradients, then parameters and moments.
///
/// # Errors
/// [`DoctorError`] when the arenas do not fit the device or it failed.
pub fn ten_steps(
    gpu: &Arc<Gpu>,
    target: &Target,
    settings: &OptimiserSettings,
) -> Result<Vec<Comparison>, DoctorError> {
    let bed = Bed::new(gpu, target, settings)?;
    let start = normal(bed.elements, 1.0, 1);
    let mut state = State::new(widen(&start));
    bed.start(&start);
    let mut errors = bounds::Errors::none(bed.elements);
    let mut comparisons = Vec::new();
    for step in 1..=u64::from(STEPS) {
        // Of falling size, so that clipping at 0.7 stops in the middle: the norm is about 200 times the deviation.
        let given = normal(bed.elements, 0.1 * 0.5f64.powf(step as f64), 100 + step);
        let (gradients, before) = (widen(&given), state.clone());
        let expected = reference::update(settings, step, LEARNING_RATE, bed.decayed, &gradients, &mut state);
        comparisons.push(Comparison {
            what: format!("norm of step {step}"),
            kernels: vec!["squares", "gradient_norm"],
            found: vec![bed.step(step, &given)?],
            expected: vec![expected],
            bounds: vec![bounds::norm(expected)],
        });
        errors.step(settings, (step, LEARNING_RATE), bed.decayed, &gradients, [&before, &state]);
    }
    let kernel = kernel(settings);
    let mut arena = |what: &str, arena, expected: Vec<f64>, bounds| -> Result<(), GpuError> {
        let found = bed.read(arena)?;
        comparisons.push(Comparison { what: what.to_owned(), kernels: vec![kernel], found, expected, bounds });
        Ok(())
    };
    arena("parameters", Arena::Parameters, state.parameters, errors.parameters)?;
    arena("moment 1", Arena::Moment1, state.moment1, errors.moment1)?;
    if settings.optimiser.moments() == 2 {
        arena("moment 2", Arena::Moment2, state.moment2, errors.moment2)?;
    }
    Ok(comparisons)
}

/// The average of the parameters of thirty steps, and one whose norm is not finite; with it the last parameters.
///
/// # Errors
/// [`DoctorError`] when the arenas do not fit the device or it failed.
pub fn averaging(gpu: &Arc<Gpu>, target: &Target) -> Result<(Comparison, Vec<f32>), DoctorError> {
    let settings = OptimiserSettings { weight_decay: 0.0, ..OptimiserSettings::default() };
    let bed = Bed::new(gpu, target, &settings)?;
    let start = normal(bed.elements, 1.0, 1);
    bed.start(&start);
    let mut parameters = start;
    let mut expected = widen(&parameters);
    let mut largest_value = largest(&expected);
    for step in 1..=31 {
        let skipped = step == 17;
        let mut gradients = normal(bed.elements, 5.0, 100 + step);
        gradients[bed.elements / 2] = if skipped { f32::INFINITY } else { gradients[bed.elements / 2] };
        bed.step(step, &gradients)?;
        parameters = bed.read(Arena::Parameters)?;
        if !skipped {
            let parameters = widen(&parameters);
            reference::average(average_weight(DECAY, step), &parameters, &mut expected);
            largest_value = largest_value.max(largest(&parameters));
        }
    }
    let bounds = vec![bounds::average(DECAY, largest_value); expected.len()];
    let comparison = Comparison {
        what: "average".to_owned(),
        kernels: vec!["ema"],
        found: bed.read(Arena::Average)?,
        expected,
        bounds,
    };
    Ok((comparison, parameters))
}

/// Statistics after steps that they follow, one with a norm that is not finite, and one with statistics of the batch that are not;
/// the parameters before them stay those of the optimiser.
///
/// # Errors
/// [`DoctorError`] when the arenas do not fit the device or it failed.
pub fn following(gpu: &Arc<Gpu>, target: &Target) -> Result<Comparison, DoctorError> {
    let (trained, statistics, steps) = (64, 5003, 4u64);
    let mut graph = Graph::new();
    graph.parameter("a", &[trained], ParameterLayout::Vector, true);
    graph.statistic("b", statistics, 1.0);
    let layout = ArenaLayout::new(&graph);
    let settings = OptimiserSettings { weight_decay: 0.0, ..OptimiserSettings::default() };
    let update = update(&settings, layout.trained, layout.decayed, target);
    let update = update.following(layout.trained..layout.elements, MOMENTUM, target);
    let stage = Stage { name: "update", dispatches: update.dispatches, scratch: update.scratch, cost: update.cost };
    let arenas = [Arena::Parameters, Arena::Gradients, Arena::Moment1];
    let request = Request { stages: vec![stage], arenas: &arenas, ..Request::inference(&graph, &[]) };
    let executor = Executor::new(Arc::clone(gpu), plan(&request, target)?)?;
    let start = normal(layout.elements, 1.0, 1);
    let mut expected = widen(&start[trained..trained + statistics]);
    let mut largest_value = largest(&expected);
    executor.write_arena(Arena::Parameters, &start);
    executor.write_arena(Arena::Moment1, &vec![0.0; layout.elements]);
    for step in 1..=steps {
        let mut gradients = normal(layout.elements, 2.0, 100 + step);
        gradients[0] = if step == 2 { f32::NAN } else { 0.0 };
        gradients[trained + 7] = if step == 3 { f32::INFINITY } else { 1.0 };
        executor.write_arena(Arena::Gradients, &gradients);
        executor.write_step_scalars(bytemuck::bytes_of(&StepScalars::new(&settings, step, LEARNING_RATE)));
        executor.run(1)?;
        let of_batch = widen(&gradients[trained..trained + statistics]);
        let finite: Vec<f64> = of_batch.iter().copied().filter(|s| s.is_finite()).collect();
        largest_value = largest_value.max(largest(&finite));
        if step != 2 {
            reference::follow(f64::from(MOMENTUM), &of_batch, &mut expected);
        }
    }
    let found = executor.read_arena(Arena::Parameters)?[trained..trained + statistics].to_vec();
    // Per step a difference of up to twice the largest, times the momentum, with two roundings, and a sum.
    let bound = steps as f64 * bounds::U * largest_value * (4.0 * f64::from(MOMENTUM) + 1.0);
    let what = format!("{statistics} after {steps} steps");
    Ok(Comparison { what, kernels: vec!["follow"], found, expected, bounds: vec![bound; statistics] })
}

/// Three micro-steps into a gradient arena that an earlier step left infinite: the sum, exactly as f32 rounds it.
///
/// # Errors
/// [`DoctorError`] when the arenas do not fit the device or it failed.
pub fn accumulation(gpu: &Arc<Gpu>, target: &Target) -> Result<Comparison, DoctorError> {
    let elements = 43_003;
    let mut graph = Graph::new();
    graph.parameter("a", &[elements], ParameterLayout::Vector, true);
    let arenas = [Arena::Gradients, Arena::Moment1];
    let [sum, gradient] = arenas.map(|arena| Operand::Window { arena, start: 0, len: elements });
    let dispatch = accumulate(gradient, sum, elements, target);
    let stage = Stage { name: "accumulate", dispatches: vec![dispatch], scratch: Vec::new(), cost: Default::default() };
    let request = Request { stages: vec![stage], arenas: &arenas, ..Request::inference(&graph, &[]) };
    let plan = plan(&request, target)?;
    let size = plan.arena.elements;
    let executor = Executor::new(Arc::clone(gpu), plan)?;
    let left: Vec<f32> = [f32::NAN, f32::INFINITY].into_iter().cycle().take(size).collect();
    executor.write_arena(Arena::Gradients, &left);
    let scalars = StepScalars::new(&OptimiserSettings::default(), 1, LEARNING_RATE);
    let mut expected = vec![0.0f32; elements];
    for micro_step in 0..3 {
        let gradients = normal(size, 1.0, micro_step as u64);
        expected.iter_mut().zip(&gradients).for_each(|(e, g)| *e += g);
        executor.write_arena(Arena::Moment1, &gradients);
        executor.write_step_scalars(bytemuck::bytes_of(&scalars.in_micro_step(micro_step)));
        executor.run(1)?;
    }
    let mut found = executor.read_arena(Arena::Gradients)?;
    found.truncate(elements);
    let what = format!("sum of {elements}");
    Ok(Comparison { what, kernels: vec!["accumulate"], found, expected: widen(&expected), bounds: vec![0.0; elements] })
}

/// A gradient that two parameters share, copied to the window of each: exactly the gradient.
///
/// # Errors
/// [`DoctorError`] when the arenas do not fit the device or it failed.
pub fn copies(gpu: &Arc<Gpu>, target: &Target) -> Result<Comparison, DoctorError> {
    let elements = 43_003;
    let mut graph = Graph::new();
    let gradient = graph.input("gradient", TensorSpec::f32([elements]));
    for name in ["a", "b"] {
        graph.parameter(name, &[elements], ParameterLayout::Vector, true);
    }
    let plan = plan(&Request { gradients: &[gradient; 2], ..Request::inference(&graph, &[]) }, target)?;
    let windows = plan.arena.windows.clone();
    let executor = Executor::new(Arc::clone(gpu), plan)?;
    let gradients = normal(elements, 1.0, 1);
    executor.write(gradient, bytemuck::cast_slice(&gradients));
    executor.run(0)?;
    let arena = executor.read_arena(Arena::Gradients)?;
    let found = windows.iter().flat_map(|w| &arena[w.start..w.start + w.len]).copied().collect();
    let what = format!("{elements} for two parameters");
    let expected = widen(&[&gradients[..], &gradients].concat());
    Ok(Comparison { what, kernels: vec!["copy"], found, expected, bounds: vec![0.0; 2 * elements] })
}

/// Tries every kernel of the optimisers: its worst comparison.
pub(super) fn self_test(gpu: &Arc<Gpu>) -> Result<Vec<KernelTest>, DoctorError> {
    let target = gpu.target();
    let mut candidates = Vec::new();
    for (name, settings) in optimisers(Some(0.7)) {
        let kernels = ["squares", "gradient_norm", kernel(&settings)];
        candidates.extend(judged(&format!("{name}, ten steps"), &kernels, ten_steps(gpu, target, &settings), target)?);
    }
    for (trial, kernel, outcome) in [
        ("31 steps", "ema", averaging(gpu, target).map(|(comparison, _)| comparison)),
        ("statistics", "follow", following(gpu, target)),
        ("three micro-steps", "accumulate", accumulation(gpu, target)),
        ("one gradient", "copy", copies(gpu, target)),
    ] {
        candidates.extend(judged(trial, &[kernel], outcome.map(|comparison| vec![comparison]), target)?);
    }
    Ok(worst_of_each(candidates))
}

/// A test per comparison and kernel; where the device failed, a failed one per kernel.
fn judged(
    trial: &str,
    kernels: &[&'static str],
    outcome: Result<Vec<Comparison>, DoctorError>,
    target: &Target,
) -> Result<Vec<KernelTest>, DoctorError> {
    match outcome {
        Ok(comparisons) => {
            let of = |c: &Comparison| {
                let elements =
                    c.found.iter().zip(&c.expected).zip(&c.bounds).map(|((f, e), b)| (f64::from(*f), *e, *b));
                let worst = Ok(worst(elements));
                let case = format!("{trial}: {}", c.what);
                let test = |kernel: &&'static str| KernelTest::new(kernel, case.clone(), target, &worst);
                c.kernels.iter().map(test).collect::<Vec<_>>()
            };
            Ok(comparisons.iter().flat_map(of).collect())
        }
        Err(DoctorError::Gpu(error)) => {
            let failed = Err(error);
            Ok(kernels.iter().map(|kernel| KernelTest::new(kernel, trial.to_owned(), target, &failed)).collect())
        }
        Err(error) => Err(error),
    }
}

/// Of several tests of a kernel the one that takes the largest part of its bound, or failed.
fn worst_of_each(candidates: Vec<KernelTest>) -> Vec<KernelTest> {
    let mut kept: Vec<KernelTest> = Vec::new();
    for candidate in candidates {
        match kept.iter_mut().find(|test| test.kernel == candidate.kernel) {
            None => kept.push(candidate),
            Some(test) if candidate.part() > test.part() => *test = candidate,
            Some(_) => {}
        }
    }
    kept
}
