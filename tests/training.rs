//! Whole networks on the device: value by value against the f64 interpreter, learning, and the same bits twice.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::network_bounds::NetworkBounds;
use support::{DIRECT, WEBGPU, as_gpu, execute, gpu};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::data::{
    Batch, CacheBudget, Dataset, Fit, Grid, Intensities, LabelMap, Loader, LoaderSettings, Normalisation, Preparation,
    Prepared, Sample, Volume, prepare_pair,
};
use vnet_engine::exec::Executor;
use vnet_engine::gpu::Gpu;
use vnet_engine::graph::interpret;
use vnet_engine::infer::Predictor;
use vnet_engine::kernel::{Algorithms, Arena, DeviceLimits, Target, WinogradTuning};
use vnet_engine::nn::loss::{Dice, DiceCrossEntropy};
use vnet_engine::nn::model::initial_arena;
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Activation, Kept, Loss, Network, TrainingGraph};
use vnet_engine::optim::{OptimiserSettings, ParameterGroup, Sgd};
use vnet_engine::plan::{ArenaLayout, Request, plan};
use vnet_engine::tensor::{DType, HostTensor, ValueId};
use vnet_engine::train::{
    CaseDice, Config, MemoryMode, Preset, Progress, RunSettings, Setting, StepResult, TrainError, Trainer,
    TrainerSettings, Validation, choose_patch, train,
};

fn main() {
    support::run_trials(&[
        (
            "frozen_parameters_stay_and_groups_have_their_own_rate",
            true,
            frozen_parameters_stay_and_groups_have_their_own_rate,
        ),
        ("every_value_agrees_with_the_f64_interpreter", true, every_value_agrees_with_the_f64_interpreter),
        ("every_value_agrees_within_webgpus_default_limits", true, every_value_agrees_within_webgpus_default_limits),
        ("every_value_agrees_on_a_plan_for_a_gpu", true, every_value_agrees_on_a_plan_for_a_gpu),
        ("every_value_agrees_with_several_channels", true, every_value_agrees_with_several_channels),
        ("every_value_agrees_with_ignored_voxels", true, every_value_agrees_with_ignored_voxels),
        ("a_network_learns_a_ball", true, a_network_learns_a_ball),
        ("two_runs_give_the_same_bits", true, two_runs_give_the_same_bits),
        ("recomputation_gives_the_same_bits", true, recomputation_gives_the_same_bits),
        (
            "every_choice_of_recomputation_gives_the_same_gradients",
            true,
            every_choice_of_recomputation_gives_the_same_gradients,
        ),
        (
            "winograd_is_precise_on_the_activations_of_a_trained_network",
            true,
            winograd_is_precise_on_the_activations_of_a_trained_network,
        ),
        ("winograd_is_precise_on_a_plan_for_a_gpu", true, winograd_is_precise_on_a_plan_for_a_gpu),
        (
            "winograd_is_precise_on_a_network_trained_on_volumes",
            true,
            winograd_is_precise_on_a_network_trained_on_volumes,
        ),
        (
            "accumulated_gradients_are_those_of_the_whole_batch",
            true,
            accumulated_gradients_are_those_of_the_whole_batch,
        ),
        (
            "batches_that_say_too_little_for_augmentation_are_refused",
            true,
            batches_that_say_too_little_for_augmentation_are_refused,
        ),
        (
            "a_run_that_was_interrupted_ends_with_the_same_bits",
            true,
            a_run_that_was_interrupted_ends_with_the_same_bits,
        ),
        ("a_step_is_backward_and_update_to_the_bit", true, a_step_is_backward_and_update_to_the_bit),
        (
            "gradients_can_be_changed_between_backward_and_update",
            true,
            gradients_can_be_changed_between_backward_and_update,
        ),
        ("halves_of_a_step_out_of_order_are_refused", true, halves_of_a_step_out_of_order_are_refused),
        ("validation_cases_are_kept_within_the_budget", true, validation_cases_are_kept_within_the_budget),
        ("any_number_of_loader_threads_gives_the_same_bits", true, any_number_of_loader_threads_gives_the_same_bits),
        (
            "the_loader_feeds_the_shapes_that_the_trainer_takes",
            false,
            the_loader_feeds_the_shapes_that_the_trainer_takes,
        ),
    ]);
}

fn small() -> Network {
    Network::new(1, 3, small_vnet())
}

fn small_vnet() -> VNet {
    VNet { base: 4, encoder: vec![1, 2, 2], decoder: vec![1, 2] }
}

/// A deterministic number in (-1, 1) that no index pattern explains.
fn noise(i: usize) -> f64 {
    let x = ((i as f64 + 1.0) * 12.9898).sin() * 43_758.547;
    2.0 * (x - x.floor()) - 1.0
}

/// Every value of forward and backward pass, from the device and in f64. The first that departs is named.
fn compare_all_values(gpu: &Arc<Gpu>, target: &Target) {
    let values = compare_values_of(gpu, target, &small(), &DiceCrossEntropy::default(), &|i| ((i / 3) % 7 % 3) as f64);
    assert!(values > 60);
}

/// As [`compare_all_values`], of a network and a loss, on the labels of the voxels; the number of values.
fn compare_values_of(
    gpu: &Arc<Gpu>,
    target: &Target,
    network: &Network,
    loss: &dyn Loss,
    label: &dyn Fn(usize) -> f64,
) -> usize {
    let t = TrainingGraph::new(network, loss, 2, [5, 9, 7], 1.0).expect("valid");
    // Winograd's errors are compared by operation (tests/ops.rs).
    let target = &target.with_algorithms(Algorithms::Direct);
    let request = Request { keep_all: true, gradients: &[], ..Request::inference(&t.graph, &[]) };
    let executor = Executor::new(Arc::clone(gpu), plan(&request, target).expect("it fits")).expect("it fits");
    let tensor = |value: ValueId, f: &dyn Fn(usize) -> f64| {
        let spec = t.graph.spec(value).clone();
        let data = (0..spec.elements()).map(|i| f64::from(f(i) as f32)).collect();
        (value, HostTensor::new(spec, data))
    };
    let labels = HostTensor::new(t.graph.spec(t.labels).clone(), (0..2 * 5 * 9 * 7).map(label).collect());
    let mut feeds = vec![tensor(t.image, &|i| 1.5 * noise(i)), (t.labels, labels)];
    let layout = &executor.plan().arena;
    let arena = initial_arena(&t.graph, layout, 5, 0.3);
    for (p, w) in t.graph.parameters().iter().zip(&layout.windows) {
        let slope = p.name.contains("act");
        feeds.push(tensor(p.value, &|i| f64::from(arena[w.start + i]) + if slope { 0.1 * noise(i) } else { 0.0 }));
    }
    let wanted: Vec<ValueId> = t.graph.nodes().iter().flat_map(|n| n.outputs.clone()).collect();
    let found = execute(&executor, &t.graph, &feeds, &wanted);
    let expected = interpret(&t.graph, &feeds.into_iter().collect::<HashMap<_, _>>()).expect("every input is fed");
    let bounds = NetworkBounds::new(&t, &expected);
    let logits = t.graph.nodes().iter().position(|n| n.outputs.contains(&t.logits)).expect("a node makes the logits");
    let mut largest = 0.0f64;
    for (i, node) in t.graph.nodes().iter().enumerate() {
        for output in &node.outputs {
            let f = &found[wanted.iter().position(|w| w == output).expect("wanted")];
            let e = &expected[output.index()];
            let bound = match i {
                _ if *output == t.loss => bounds.loss,
                i if i <= logits => bounds.forward * e.max_abs(),
                i if i < t.forward => bounds.head * e.max_abs(),
                _ => bounds.backward * e.max_abs(),
            };
            if let Err(message) = support::compare(f, e, |_| bound) {
                panic!("{} ({}) is the first value to depart: {message}", node.name, node.op.name());
            }
            let error = f.data.iter().zip(&e.data).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
            largest = largest.max(error / bound.max(f64::MIN_POSITIVE));
        }
    }
    println!("{bounds:?}: {largest:.2} of a bound at most");
    wanted.len()
}

/// Networks of several input channels, which the first stage repeats or projects.
fn every_value_agrees_with_several_channels() {
    let gpu = gpu();
    for base in [4, 8, 16] {
        for channels in 1..=5 {
            let network = Network::new(channels, 3, VNet { base, encoder: vec![1, 1], decoder: vec![1] });
            println!("{}", network.description());
            let label = |i: usize| ((i / 3) % 7 % 3) as f64;
            compare_values_of(gpu, gpu.target(), &network, &DiceCrossEntropy::default(), &label);
        }
    }
}

/// Regions, and classes, with voxels that have no say.
fn every_value_agrees_with_ignored_voxels() {
    let gpu = gpu();
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        for dice in [Dice::default(), Dice { squares: false, batch: true }] {
            let network = Network::new(3, 3, small_vnet()).with_activation(activation);
            let label = |i: usize| match (i / 3 % 7, activation) {
                (5, _) => f64::from(u32::MAX),
                (n, Activation::Softmax) => (n % 3) as f64,
                (n, Activation::Sigmoid) => n as f64,
            };
            let values = compare_values_of(gpu, gpu.target(), &network, &DiceCrossEntropy { dice }, &label);
            assert!(values > 60);
        }
    }
}

fn every_value_agrees_with_the_f64_interpreter() {
    compare_all_values(gpu(), gpu().target());
}

fn every_value_agrees_within_webgpus_default_limits() {
    let gpu = WEBGPU.as_ref().expect("ignored without an adapter");
    assert_eq!(
        gpu.target().limits,
        DeviceLimits { max_buffer_bytes: gpu.target().limits.max_buffer_bytes, ..DeviceLimits::WEBGPU }
    );
    compare_all_values(gpu, gpu.target());
}

/// The plan of a large GPU, run by whatever adapter there is.
fn every_value_agrees_on_a_plan_for_a_gpu() {
    compare_all_values(gpu(), &as_gpu(gpu().target()));
}

/// A ball in noise, and its label.
fn ball(seed: usize, extents: [usize; 3]) -> Batch {
    let [d, h, w] = extents;
    let mut image = Vec::new();
    let mut label = Vec::new();
    for i in 0..d * h * w {
        let (z, y, x) = (i / (h * w), i / w % h, i % w);
        let distance = ((z as f64 - 4.0).powi(2) + (y as f64 - 5.0).powi(2) + (x as f64 - 7.0).powi(2)).sqrt();
        let inside = distance < 3.2;
        label.push(u32::from(inside));
        image.push((noise(i + seed * 7919) * 0.5 + if inside { 1.0 } else { -0.2 }) as f32);
    }
    Batch { image, label, cases: vec![format!("ball{seed}")], ..Batch::default() }
}

fn tiny_config(steps: u64) -> Config {
    let settings = [
        format!("training.steps={steps}"),
        "network.encoder=[1,1]".to_owned(),
        "network.decoder=[1]".to_owned(),
        "optimiser.learning_rate=1e-2".to_owned(),
    ];
    Config::load(Preset::Tiny, None, &Setting::parse_all(&settings)).expect("valid")
}

fn trained(gpu: &Arc<Gpu>, target: &Target, config: &Config, steps: u64) -> (Vec<StepResult>, Vec<f32>, Trainer) {
    let mut trainer = Trainer::in_passes(gpu, &config.network(1, 2), &config.trainer_settings(), [8, 10, 14], target)
        .expect("it fits");
    let arena = initial_arena(&trainer.training().graph, trainer.layout(), 3, 0.05);
    trainer.set_parameters(&arena);
    let mut results = Vec::new();
    for step in 0..steps {
        let first = step as usize * trainer.passes();
        let batches: Vec<Batch> = (0..trainer.passes()).map(|p| ball((first + p) % 4, [8, 10, 14])).collect();
        results.extend(trainer.step(&batches, config.learning_rate(step)).expect("a step"));
    }
    results.extend(trainer.finish().expect("the device answers"));
    let parameters = trainer.parameters().expect("the device answers");
    (results, parameters, trainer)
}

fn a_network_learns_a_ball() {
    let gpu = gpu();
    let (results, _, _) = trained(gpu, gpu.target(), &tiny_config(60), 60);
    assert_eq!(results.len(), 60);
    assert!(results[0].loss > 0.5, "starts at {}", results[0].loss);
    assert!(results[59].loss < 0.1, "ends at {}", results[59].loss);
}

fn two_runs_give_the_same_bits() {
    let gpu = gpu();
    let mut ends = Vec::new();
    for algorithms in [Algorithms::Naive, Algorithms::Direct, Algorithms::Winograd, Algorithms::Auto] {
        let target = gpu.target().with_algorithms(algorithms);
        let run = || trained(gpu, &target, &tiny_config(50), 50);
        let (a, b) = (run(), run());
        assert_eq!(a.0, b.0, "{algorithms}");
        assert_eq!(bits(&a.1), bits(&b.1), "{algorithms}");
        ends.push(bits(&a.1));
    }
    // The choices differ, in the last bits at least.
    assert!(ends[0] != ends[1] && ends[1] != ends[2]);
}

/// Every stage computed again, and the choice of `memory = low`: the weights are those of a run that keeps everything.
fn recomputation_gives_the_same_bits() {
    let gpu = gpu();
    let mut config = tiny_config(8);
    config.network.choose(small().architecture());
    for algorithms in [Algorithms::Direct, Algorithms::Auto] {
        let target = gpu.target().with_algorithms(algorithms);
        let normal = trained(gpu, &target, &config, 8);
        let mut low = config.clone();
        low.training.memory = MemoryMode::Low;
        let recomputing = trained(gpu, &target, &low, 8);
        let share = recomputing.2.training().recomputed_share();
        assert!(share > 0.0 && normal.2.training().recomputed_share() == 0.0);
        assert!(recomputing.2.executor().plan().memory.slots < normal.2.executor().plan().memory.slots);
        assert_eq!(normal.0, recomputing.0, "{algorithms}");
        assert_eq!(bits(&normal.1), bits(&recomputing.1), "{algorithms}");
    }
}

/// Gradients of one pass with every stage recomputed as far as possible, bit for bit.
fn every_choice_of_recomputation_gives_the_same_gradients() {
    let gpu = gpu();
    let training = TrainingGraph::new(&small(), &DiceCrossEntropy::default(), 1, [8, 12, 20], 1.0).expect("valid");
    let stages = training.stages().len();
    assert_eq!(training.stages().first(), Some(&"encoder.0"));
    let gradients = |training: &TrainingGraph| {
        let outputs = [training.loss];
        let request = Request { gradients: &training.gradients, ..Request::inference(&training.graph, &outputs) };
        let executor = Executor::new(Arc::clone(gpu), plan(&request, gpu.target()).expect("it fits")).expect("it fits");
        executor.write_arena(Arena::Parameters, &initial_arena(&training.graph, &executor.plan().arena, 3, 0.3));
        let batch = ball(2, [8, 12, 20]);
        executor.write(training.image, bytemuck::cast_slice(&batch.image));
        executor.write(training.labels, bytemuck::cast_slice(&batch.label));
        executor.run(0).expect("the device runs");
        let arena = executor.read_arena(Arena::Gradients).expect("the device answers");
        arena.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let expected = gradients(&training);
    assert!(expected.iter().filter(|&&b| b != 0).count() > expected.len() / 2);
    let mut one_stage = vec![Kept::All; stages];
    one_stage[1] = Kept::Boundaries;
    for kept in [vec![Kept::Convolutions; stages], vec![Kept::Boundaries; stages], one_stage] {
        let recomputing = training.recomputing(&kept);
        assert!(recomputing.recomputed_share() > 0.0);
        assert!(gradients(&recomputing) == expected, "{kept:?}");
    }
}

fn winograd_is_precise_on_the_activations_of_a_trained_network() {
    let gpu = gpu();
    let target = gpu.target().with_algorithms(Algorithms::Winograd);
    let (_, _, trainer) = trained(gpu, &target, &tiny_config(50), 50);
    // Three convolutions, the gradients of their weights, and those of two inputs.
    assert_winograd_is_precise(&trainer, &target, &ball(1, [8, 10, 14]), 8);
}

/// The same after steps by the plan of a large GPU, whole and in parts: chunks of a row of tiles, and weights by slices.
fn winograd_is_precise_on_a_plan_for_a_gpu() {
    let gpu = gpu();
    let whole = as_gpu(gpu.target()).with_algorithms(Algorithms::Winograd);
    let mut parts = whole.clone();
    parts.tuning.winograd = WinogradTuning { part_bytes: 1, ..parts.tuning.winograd };
    let mut slices = whole.clone();
    slices.tuning.winograd = WinogradTuning { weight_bytes: 0, ..slices.tuning.winograd };
    let mut dispatches = Vec::new();
    for target in [whole, parts, slices] {
        let (_, _, trainer) = trained(gpu, &target, &tiny_config(5), 5);
        assert_winograd_is_precise(&trainer, &target, &ball(1, [8, 10, 14]), 8);
        dispatches.push(trainer.executor().plan().programs[0].dispatches.len());
    }
    assert!(dispatches[0] < dispatches[1] && dispatches[0] < dispatches[2], "{dispatches:?}");
}

/// The same at every level of the preset `tiny` after 200 steps on real volumes: `hippocampus` in the folder VNET_DATA.
fn winograd_is_precise_on_a_network_trained_on_volumes() {
    let root = PathBuf::from(std::env::var_os("VNET_DATA").expect("ignored without VNET_DATA"));
    let gpu = gpu();
    let target = gpu.target().with_algorithms(Algorithms::Winograd);
    let config = Preset::Tiny.config();
    let (dataset, examined) = Dataset::open_checked(&root.join("hippocampus"), None).expect("a data set");
    let classes = examined.classes.count();
    let network = config.network(1, classes);
    let patch = choose_patch(&config, &dataset.cases, network.divisor()).expect("a patch");
    let [x, y, z] = patch;
    let mut trainer =
        Trainer::in_passes(gpu, &network, &config.trainer_settings(), [z, y, x], &target).expect("it fits");
    trainer.set_parameters(&initial_arena(&trainer.training().graph, trainer.layout(), 0, config.network.head_gain));
    let settings = config.loader_settings(patch, trainer.pass_batch(), 0);
    let mut loader = Loader::start(dataset.cases, config.preparation(patch, 1, classes), settings).expect("batches");
    for step in 0..200 {
        trainer.step(&[loader.next().expect("a batch")], config.learning_rate(step)).expect("a step");
    }
    // Fifteen convolutions, the gradients of their weights, and those of all inputs but the image.
    assert_winograd_is_precise(&trainer, &target, &loader.next().expect("a batch"), 44);
}

/// Each 5x5x5 convolution and gradient of a training step, from the inputs that it had on the device: relative error in the
/// 2-norm against f64. Measured on random data: 1e-5 to 2e-5 (docs/numerics.md, section 1).
fn assert_winograd_is_precise(trainer: &Trainer, target: &Target, batch: &Batch, least: usize) {
    let t = trainer.training();
    let request = Request { keep_all: true, gradients: &[], ..Request::inference(&t.graph, &[]) };
    let executor = Executor::new(Arc::clone(gpu()), plan(&request, target).expect("it fits")).expect("it fits");
    let arena = trainer.parameters().expect("the device answers");
    let tensor = |value: ValueId, data: Vec<f64>| (value, HostTensor::new(t.graph.spec(value).clone(), data));
    let mut feeds = vec![
        tensor(t.image, batch.image.iter().map(|&x| f64::from(x)).collect()),
        tensor(t.labels, batch.label.iter().map(|&x| f64::from(x)).collect()),
    ];
    for (p, w) in t.graph.parameters().iter().zip(&trainer.layout().windows) {
        feeds.push(tensor(p.value, arena[w.start..w.start + w.len].iter().map(|&x| f64::from(x)).collect()));
    }
    let wanted: Vec<ValueId> = t.graph.nodes().iter().flat_map(|n| n.outputs.clone()).collect();
    let found = execute(&executor, &t.graph, &feeds, &wanted);
    let values: HashMap<ValueId, HostTensor> = feeds.into_iter().chain(wanted.into_iter().zip(found)).collect();
    let mut compared = 0;
    for node in t.graph.nodes().iter().filter(|n| n.op.name().starts_with("conv3d")) {
        let inputs: Vec<&HostTensor> = node.inputs.iter().map(|v| &values[v]).collect();
        let found = &values[&node.outputs[0]];
        if !inputs.iter().map(|i| i.shape()).chain([found.shape()]).any(|s| s.starts_with(&[5; 3])) {
            continue;
        }
        let expected = node.op.reference(&inputs).swap_remove(0);
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let difference = norm(&mut found.data.iter().zip(&expected.data).map(|(f, e)| f - e));
        let error = difference / norm(&mut expected.data.iter().copied());
        println!("{} {}: {error:.1e}", node.name, node.op.name());
        assert!(error <= 5e-5, "{} {}: {error:e}", node.name, node.op.name());
        compared += 1;
    }
    assert!(compared >= least, "{compared}");
}

/// The bounds for a batch of 16 x 16 x 16 voxels in one pass, from the parameters of seed 3 with a head gain of 0.3.
fn bounds_of_the_whole(config: &Config, batch: &Batch, layout: &ArenaLayout) -> NetworkBounds {
    let loss = config.training.loss.build();
    let t = TrainingGraph::new(&config.network(1, 2), &*loss, config.training.batch, [16; 3], 1.0).expect("valid");
    let tensor = |value: ValueId, data: Vec<f64>| (value, HostTensor::new(t.graph.spec(value).clone(), data));
    let arena = initial_arena(&t.graph, layout, 3, 0.3);
    let parameters = t
        .graph
        .parameters()
        .iter()
        .zip(&layout.windows)
        .map(|(p, w)| tensor(p.value, arena[w.start..w.start + w.len].iter().map(|&x| f64::from(x)).collect()));
    let image = tensor(t.image, batch.image.iter().map(|&x| f64::from(x)).collect());
    let labels = tensor(t.labels, batch.label.iter().map(|&x| f64::from(x)).collect());
    let feeds = parameters.chain([image, labels]).collect();
    NetworkBounds::new(&t, &interpret(&t.graph, &feeds).expect("every input is fed"))
}

fn accumulated_gradients_are_those_of_the_whole_batch() {
    let gpu = DIRECT.as_ref().expect("ignored without an adapter");
    let mut config = tiny_config(1);
    config.training.batch = 2;
    let network = config.network(1, 2);
    // A target on which one sample's 8 channels of 4096 voxels fit a binding, and two samples' do not.
    let narrow = gpu.target().with_max_binding_bytes(260_000);
    let extents = [16, 16, 16];
    let (_, _, passes) = Trainer::plan_for(&network, &config.trainer_settings(), extents, &narrow).expect("it fits");
    assert_eq!(passes, 2);
    let [one, two] = [1, 2].map(|seed| ball(seed, extents));
    let join = |a: &Batch, b: &Batch| Batch {
        image: [&a.image[..], &b.image].concat(),
        label: [&a.label[..], &b.label].concat(),
        cases: vec!["both".to_owned(); 2],
        ..Batch::default()
    };
    let start = |trainer: &mut Trainer| {
        let arena = initial_arena(&trainer.training().graph, trainer.layout(), 3, 0.3);
        trainer.set_parameters(&arena);
    };
    let mut whole = Trainer::new(gpu, &network, &config.trainer_settings(), extents).expect("it fits");
    start(&mut whole);
    let both = join(&one, &two);
    let mut w = whole.step(std::slice::from_ref(&both), 1e-3).expect("a step");
    let mut parts = Trainer::in_passes(gpu, &network, &config.trainer_settings(), extents, &narrow).expect("it fits");
    start(&mut parts);
    let mut p = parts.step(&[one, two], 1e-3).expect("a step");
    w.extend(whole.finish().expect("the device answers"));
    p.extend(parts.finish().expect("the device answers"));
    let (w, p) = (&w[0], &p[0]);
    // Both are within the bounds of docs/numerics.md, section 2, of the definition.
    let bounds = bounds_of_the_whole(&config, &both, whole.layout());
    assert!((w.loss - p.loss).abs() <= 2.0 * bounds.loss && w.loss > 0.1, "{} and {}: {bounds:?}", w.loss, p.loss);
    let gradients = |t: &Trainer| t.executor().read_arena(Arena::Gradients).expect("the device answers");
    let (w, p) = (gradients(&whole), gradients(&parts));
    for window in &whole.layout().windows {
        let of = |arena: &[f32]| arena[window.start..window.start + window.len].to_vec();
        let (w, p) = (of(&w), of(&p));
        let largest = w.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let worst = w.iter().zip(&p).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        let bound = 2.0 * bounds.backward * f64::from(largest);
        assert!(largest > 0.0 && f64::from(worst) <= bound, "{worst} of {largest}, {bounds:?}");
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Two passes per step, clipping, averages: parameters, average, moments and results of three steps.
fn a_step_is_backward_and_update_to_the_bit() {
    let mut config = tiny_config(3);
    config.training.batch = 2;
    config.training.accumulation = 2;
    config.training.ema_decay = 0.9;
    config.optimiser.clip_norm = 0.5;
    let run = |halves: bool| {
        let mut trainer =
            Trainer::new(gpu(), &config.network(1, 2), &config.trainer_settings(), [8, 10, 14]).expect("it fits");
        assert_eq!((trainer.passes(), trainer.pass_batch()), (2, 1));
        trainer.initialise(3, 0.3);
        let mut results = Vec::new();
        for step in 0..3 {
            let batches = [1, 2].map(|i| ball(2 * step + i, [8, 10, 14]));
            results.extend(if halves {
                batches.iter().for_each(|batch| trainer.backward(batch).expect("a pass"));
                let gradients = trainer.gradients().expect("the device answers");
                trainer.set_gradients(&gradients);
                trainer.update(1e-2).expect("an update")
            } else {
                trainer.step(&batches, 1e-2).expect("a step")
            });
        }
        results.extend(trainer.finish().expect("the device answers"));
        let (first, second) = trainer.moments().expect("the device answers");
        let average = trainer.average().expect("the device answers").expect("averages are kept");
        let state = [trainer.parameters().expect("the device answers"), first, second.unwrap_or_default(), average];
        (results, state.map(|arena| bits(&arena)))
    };
    let (whole, halves) = (run(false), run(true));
    assert_eq!(whole.0.len(), 3);
    assert!(whole.0.iter().all(|result| result.gradient_norm > 0.0 && result.cases.len() == 2));
    assert!(whole == halves);
}

/// After one step: frozen parameters as before, without gradients and moments, and all others as in a training without frozen ones; those
/// of a group as in a training with its rate, all others as in one without groups. To the bit, in one pass and in two.
fn frozen_parameters_stay_and_groups_have_their_own_rate() {
    let rate = 2e-2;
    for (kind, passes) in [("sgd", 2), ("adam", 1), ("adamw", 1)] {
        let mut config = tiny_config(3);
        config.training.batch = passes;
        config.training.accumulation = passes;
        config.optimiser.kind = kind.parse().expect("known");
        (config.optimiser.clip_norm, config.optimiser.weight_decay) = (0.0, 0.05);
        // Names and bits of parameters, gradients and moments after a step.
        let step = |freeze: &[&str], groups: &[(&str, f64)], rate: f64| {
            let mut settings = config.trainer_settings();
            settings.freeze = freeze.iter().map(|pattern| (*pattern).to_owned()).collect();
            let group = |(of, factor): &(&str, f64)| ParameterGroup {
                parameters: (*of).to_owned(),
                learning_rate_factor: *factor,
            };
            settings.groups = groups.iter().map(group).collect();
            let mut trainer = Trainer::new(gpu(), &config.network(1, 2), &settings, [8, 10, 14]).expect("it fits");
            trainer.initialise(3, 0.3);
            let before = trainer.parameters().expect("the device answers");
            let batches: Vec<Batch> = (0..passes).map(|i| ball(i, [8, 10, 14])).collect();
            trainer.step(&batches, rate).expect("a step");
            trainer.finish().expect("the device answers");
            let (first, second) = trainer.moments().expect("the device answers");
            let gradients = trainer.gradients().expect("the device answers");
            let after = trainer.parameters().expect("the device answers");
            let arenas = [before, after, gradients, first, second.unwrap_or_default()];
            let graph = &trainer.training().graph;
            let backward = |stage: &str| {
                graph.nodes().iter().filter(|n| n.name.starts_with(stage) && n.name.ends_with(".grad")).count()
            };
            let windows = graph.parameters().iter().zip(&trainer.layout().windows);
            let named: BTreeMap<String, [Vec<u32>; 5]> = windows
                .map(|(parameter, window)| {
                    let part =
                        |arena: &Vec<f32>| bits(arena.get(window.start..window.start + window.len).unwrap_or_default());
                    (parameter.name.clone(), arenas.each_ref().map(part))
                })
                .collect();
            (named, [backward("encoder."), backward("decoder.")])
        };
        let (plain, backward) = step(&[], &[], rate);
        assert!(backward.iter().all(|nodes| *nodes > 0));
        let (frozen, backward) = step(&["encoder.*", "*.act*.weight"], &[], rate);
        assert!(
            backward[0] == 0 && backward[1] > 0,
            "nothing is computed that only frozen parameters need: {backward:?}"
        );
        for (name, [before, after, rest @ ..]) in &frozen {
            let is_frozen = name.starts_with("encoder.") || name.contains(".act");
            if is_frozen {
                assert_eq!((before, rest.iter().flatten().any(|bits| *bits != 0)), (after, false), "{kind} {name}");
            } else {
                assert!(before != after && plain[name] == frozen[name], "{kind} {name}");
            }
        }
        let (halved, _) = step(&[], &[], 0.5 * rate);
        let (groups, _) = step(&["head.bias"], &[("decoder.*", 0.5), ("*", 1.0)], rate);
        for (name, found) in &groups {
            match name.as_str() {
                "head.bias" => assert_eq!(found[0], found[1]),
                name if name.starts_with("decoder.") => {
                    assert!(*found == halved[name] && *found != plain[name], "{name}")
                }
                name => assert_eq!(*found, plain[name], "{kind} {name}"),
            }
        }
    }
}

/// Half the gradients: exactly half the norm, and half the move of plain gradient descent. A parameter is off by a rounding of itself,
/// and by the roundings of the learning rate and the product.
fn gradients_can_be_changed_between_backward_and_update() {
    let config = tiny_config(1);
    let optimiser = OptimiserSettings::new(Sgd { momentum: 0.0, nesterov: false });
    let settings = TrainerSettings { optimiser, ..config.trainer_settings() };
    let (rate, batch) = (0.25, ball(1, [8, 10, 14]));
    let mut norms = Vec::new();
    for scale in [1.0, 0.5] {
        let mut trainer = Trainer::new(gpu(), &config.network(1, 2), &settings, [8, 10, 14]).expect("it fits");
        trainer.initialise(3, 0.3);
        let before = trainer.parameters().expect("the device answers");
        trainer.backward(&batch).expect("a pass");
        let gradients: Vec<f32> =
            trainer.gradients().expect("the device answers").into_iter().map(|g| scale * g).collect();
        trainer.set_gradients(&gradients);
        let mut results = trainer.update(rate).expect("an update");
        results.extend(trainer.finish().expect("the device answers"));
        norms.push(results[0].gradient_norm);
        let after = trainer.parameters().expect("the device answers");
        let mut moved = 0;
        for ((before, after), g) in before.iter().zip(&after).zip(&gradients) {
            let step = rate * f64::from(*g);
            let expected = f64::from(*before) - step;
            let bound = support::U * (expected.abs() + 2.0 * step.abs()) + f64::from(f32::MIN_POSITIVE);
            assert!((f64::from(*after) - expected).abs() <= bound, "{after} instead of {expected}");
            moved += usize::from(after != before);
        }
        assert!(moved > before.len() / 4, "{moved} of {}", before.len());
    }
    assert!(norms[0] > 0.0 && norms[1] == 0.5 * norms[0], "{norms:?}");
}

fn halves_of_a_step_out_of_order_are_refused() {
    let config = tiny_config(1);
    let mut trainer =
        Trainer::new(gpu(), &config.network(1, 2), &config.trainer_settings(), [8, 10, 14]).expect("it fits");
    trainer.initialise(3, 0.3);
    let batch = ball(1, [8, 10, 14]);
    let refused = |result: Result<(), TrainError>, found: usize| {
        let text = result.expect_err("out of order").to_string();
        assert_eq!(text, format!("a training step was given {found} backward passes before an update, expected 1"));
    };
    refused(trainer.update(1e-3).map(drop), 0);
    trainer.backward(&batch).expect("a pass");
    refused(trainer.backward(&batch), 2);
    assert_eq!(trainer.step_count(), 0);
    trainer.update(1e-3).expect("an update");
    refused(trainer.update(1e-3).map(drop), 0);
    assert_eq!(trainer.step_count(), 1);
}

/// Samples that are in memory say nothing of their volumes, which augmentation must know: an error before the device is asked for
/// anything, and the trainer is as it was.
fn batches_that_say_too_little_for_augmentation_are_refused() {
    let mut config = tiny_config(1);
    config.training.batch = 2;
    config.augmentation.enabled = true;
    config.augmentation.histogram_matching.probability = 0.5;
    config.augmentation.gamma.probability = 0.5;
    let patch = [8, 8, 8];
    let mut trainer = Trainer::new(gpu(), &config.network(1, 2), &config.trainer_settings(), patch).expect("it fits");
    trainer.initialise(0, 0.05);
    let grid = Grid::axis_aligned(config.trainer_settings().block(patch), [1.0; 3]);
    let voxels: Vec<f32> = (0..grid.voxel_count()).map(|i| noise(i) as f32).collect();
    let label = LabelMap { grid: grid.clone(), voxels: voxels.iter().map(|v| u16::from(*v > 0.5)).collect() };
    let volume = Volume { grid: grid.clone(), voxels };
    let preparation = Preparation { patch: grid.extents, ..Preparation::native(Normalisation::ZScoreAll) };
    let sample = Prepared::from_pair(volume, &label, &preparation, Fit::Patch).expect("a pair");
    let batch = Batch::of(&[sample.clone(), sample.clone()]).expect("labelled samples");
    let mut refused = |batch: &Batch| {
        let error = trainer.step(std::slice::from_ref(batch), 1e-3).expect_err("augmentation needs more");
        assert!(matches!(error, TrainError::Batch { expected: 2, .. }), "{error:?}");
        assert_eq!(trainer.step_count(), 0);
        error.to_string()
    };
    let text = refused(&batch);
    assert!(text.contains("0 samples") && text.contains("augmentation") && text.contains("Batch::of"), "{text}");
    let described = |intensities: bool, partner: bool| {
        let known = |wanted: bool| wanted.then(|| Arc::new(Intensities::of_channels(&sample.image, 1)));
        let sample =
            |number| Sample { number, spacing: [1.0; 3], intensities: known(intensities), partner: known(partner) };
        Batch { samples: vec![sample(0), sample(1)], ..batch.clone() }
    };
    let text = refused(&described(false, true));
    assert!(text.contains("0 samples") && text.contains("intensities"), "{text}");
    let text = refused(&described(true, false));
    assert!(text.contains("0 samples") && text.contains("another volume"), "{text}");
    let mut results = trainer.step(&[described(true, true)], 1e-3).expect("a step");
    results.extend(trainer.finish().expect("the device answers"));
    assert_eq!(results.len(), 1);
}

struct Silent(Vec<f64>);

impl Progress for Silent {
    fn step(&mut self, result: &StepResult) {
        self.0.push(result.loss);
    }
}

fn dataset(folder: &Path) {
    let settings = PhantomSettings { cases: 6, seed: 4, extents: [32, 32, 16], spacing: [4.0, 4.0, 4.5] };
    write_dataset(folder, &settings, |_| ()).expect("written");
}

fn run_settings(folder: &Path, out: &str, steps: u64) -> RunSettings {
    let keys = [
        format!("training.steps={steps}"),
        "training.validate_every=3".to_owned(),
        "training.checkpoint_every=2".to_owned(),
        "network.encoder=[1,1]".to_owned(),
        "network.decoder=[1]".to_owned(),
    ];
    let config = Config::load(Preset::Tiny, None, &Setting::parse_all(&keys)).expect("valid");
    RunSettings::new(folder.join("data"), folder.join(out), config)
}

fn a_run_that_was_interrupted_ends_with_the_same_bits() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataset(&folder.path().join("data"));
    let whole = run_settings(folder.path(), "whole", 6);
    train(gpu, &whole, &mut Silent(Vec::new())).expect("a run");
    // The schedule is that of six steps; the run is cut after step 4 by restoring its checkpoint alone.
    let mut cut = run_settings(folder.path(), "cut", 6);
    cut.config.training.checkpoint_every = 4;
    cut.config.training.steps = 4;
    cut.config.schedule.kind = "constant".parse().expect("a schedule");
    let mut constant = whole.clone();
    constant.out = folder.path().join("constant");
    constant.config.schedule.kind = "constant".parse().expect("a schedule");
    let mut expected = Silent(Vec::new());
    train(gpu, &constant, &mut expected).expect("a run");
    train(gpu, &cut, &mut Silent(Vec::new())).expect("a run");
    cut.config.training.steps = 6;
    cut.resume = true;
    let mut resumed = Silent(Vec::new());
    train(gpu, &cut, &mut resumed).expect("a run that goes on");
    assert_eq!(resumed.0, expected.0[4..]);
    let tensors = |out: &Path| std::fs::read(out.join("checkpoint/step_0000006.safetensors")).expect("a checkpoint");
    let (a, b) = (tensors(&constant.out), tensors(&cut.out));
    let data = |bytes: &[u8]| {
        let file = safetensors::SafeTensors::deserialize(bytes).expect("a safetensors file");
        let mut all: Vec<(String, Vec<u8>)> = file.iter().map(|(n, v)| (n.to_owned(), v.data().to_vec())).collect();
        all.sort();
        all
    };
    assert_eq!(data(&a), data(&b));
    for file in
        ["config.toml", "split.json", "log.jsonl", "model.safetensors", "curves.svg", "curves.png", "report.html"]
    {
        assert!(whole.out.join(file).exists(), "{file}");
    }
    assert!(whole.out.join("overlays").read_dir().expect("overlays").count() == 2);
    let log = std::fs::read_to_string(cut.out.join("log.jsonl")).expect("a log");
    assert_eq!(log.lines().filter(|l| l.contains("\"event\":\"step\"")).count(), 6);
}

/// A cube and a target on which one sample of eight channels fits a binding and two do not, while Winograd's parts do.
fn accumulating(gpu: &Arc<Gpu>, config: &Config) -> (usize, Target) {
    let fits = |&edge: &usize| {
        let max_binding_bytes = (2 * edge.pow(3) * 8 * 4 - 4) as u64;
        let target = gpu.target().with_algorithms(Algorithms::Winograd).with_max_binding_bytes(max_binding_bytes);
        let (_, plan, passes) =
            Trainer::plan_for(&config.network(1, 2), &config.trainer_settings(), [edge; 3], &target).ok()?;
        let winograd = plan.kernels.iter().any(|k| k.shader.starts_with("winograd"));
        (passes == 2 && winograd).then_some((edge, target))
    };
    [16, 24, 32, 40, 48].iter().find_map(fits).expect("a cube that is accumulated and runs on Winograd's kernels")
}

/// Losses, weights and validation scores of six steps with Winograd's kernels and gradients accumulated over two passes,
/// fed by this many threads.
fn fed_by(gpu: &Arc<Gpu>, folder: &Path, threads: usize) -> (Vec<StepResult>, Vec<u32>, Vec<CaseDice>) {
    let mut config = tiny_config(6);
    config.training.batch = 2;
    let network = config.network(1, 2);
    let (edge, target) = accumulating(gpu, &config);
    let patch = [edge; 3];
    let mut trainer = Trainer::in_passes(gpu, &network, &config.trainer_settings(), patch, &target).expect("it fits");
    assert_eq!((trainer.passes(), trainer.pass_batch()), (2, 1));
    let arena = initial_arena(&trainer.training().graph, trainer.layout(), 3, 0.05);
    trainer.set_parameters(&arena);
    let dataset = vnet_engine::data::Dataset::open(folder).expect("a data set");
    let preparation = config.preparation(patch, 1, 2);
    let budget = config.cache_budget();
    let validation = Validation::new(&dataset.cases[4..], &preparation, &budget);
    let predictor = Predictor::sharing(trainer.executor(), Arena::Parameters, &network, patch).expect("it fits");
    let cases = dataset.cases[..4].to_vec();
    let settings = LoaderSettings { threads, ..LoaderSettings::whole(patch, trainer.pass_batch(), 9) };
    let mut loader = Loader::start(cases, preparation, settings).expect("a loader");
    let (mut results, mut scores) = (Vec::new(), Vec::new());
    for step in 0..6 {
        let batches: Vec<Batch> = (0..trainer.passes()).map(|_| loader.next().expect("a batch")).collect();
        results.extend(trainer.step(&batches, config.learning_rate(step)).expect("a step"));
        if step % 3 == 2 {
            results.extend(trainer.finish().expect("the device answers"));
            scores.extend(validation.run(&predictor, || Ok(()), |_| ()).expect("predicted"));
        }
    }
    let parameters = trainer.parameters().expect("the device answers");
    (results, parameters.iter().map(|x| x.to_bits()).collect(), scores)
}

/// Cases that the budget has room for are read once, the others for each validation; either way with the same scores. A file that
/// is gone tells one from the other.
fn validation_cases_are_kept_within_the_budget() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataset(folder.path());
    let cases = vnet_engine::data::Dataset::open(folder.path()).expect("a data set").cases;
    let config = tiny_config(1);
    let network = config.network(1, 2);
    let patch = [16; 3];
    let mut trainer = Trainer::new(gpu(), &network, &config.trainer_settings(), patch).expect("it fits");
    trainer.initialise(0, 0.3);
    let predictor = Predictor::sharing(trainer.executor(), Arena::Parameters, &network, patch).expect("it fits");
    let preparation = config.preparation(patch, 1, 2);
    let run = |validation: &Validation| validation.run(&predictor, || Ok(()), |_| ());
    // A volume of 32 x 32 x 16 voxels: intensities, labels, and labels on the grid of the file.
    let one = 32 * 32 * 16 * (4 + 2 + 2);
    let mut scores = Vec::new();
    for (bytes, left) in [(0, 0), (one, 0), (2 * one - 1, one - 1), (2 * one + 7, 7)] {
        let budget = CacheBudget::new(bytes);
        let validation = Validation::new(&cases[..2], &preparation, &budget);
        assert_eq!(budget.left(), bytes, "nothing is read before it is needed");
        scores.push(run(&validation).expect("predicted"));
        assert_eq!(budget.left(), left);
        let hidden = cases[1].image.first().with_extension("hidden");
        std::fs::rename(cases[1].image.first(), &hidden).expect("renamed");
        let again = run(&validation);
        std::fs::rename(&hidden, cases[1].image.first()).expect("renamed");
        match again {
            Ok(again) => assert!(bytes > 2 * one && again == scores[0]),
            Err(error) => assert!(bytes < 2 * one && error.to_string().contains("phantom_001"), "{bytes}: {error}"),
        }
        drop(validation);
        assert_eq!(budget.left(), bytes);
    }
    assert!(scores.windows(2).all(|pair| pair[0] == pair[1]));
}

fn any_number_of_loader_threads_gives_the_same_bits() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataset(folder.path());
    let one = fed_by(gpu, folder.path(), 1);
    assert_eq!((one.0.len(), one.2.len()), (6, 4));
    assert_eq!(fed_by(gpu, folder.path(), 1), one);
    assert_eq!(fed_by(gpu, folder.path(), 2), one);
    assert_eq!(fed_by(gpu, folder.path(), 3), one);
}

fn the_loader_feeds_the_shapes_that_the_trainer_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    dataset(folder.path());
    let dataset = vnet_engine::data::Dataset::open(folder.path()).expect("a data set");
    let config = tiny_config(1);
    let preparation: Preparation = config.preparation([24, 40, 16], 1, 2);
    let prepared = prepare_pair(&dataset.cases[0], &preparation, Fit::Patch).expect("prepared");
    assert_eq!(prepared.image.len(), 24 * 40 * 16);
    let settings = LoaderSettings::whole(preparation.patch, 2, 0);
    let mut loader = Loader::start(dataset.cases, preparation, settings).expect("a loader");
    let batch = loader.next().expect("a batch");
    let graph = TrainingGraph::new(&config.network(1, 2), &Dice::default(), 2, [16, 40, 24], 1.0).expect("valid");
    assert_eq!(graph.graph.spec(graph.image).elements(), batch.image.len());
    assert_eq!(graph.graph.spec(graph.labels).elements(), batch.label.len());
    assert_eq!(graph.graph.spec(graph.labels).dtype, DType::U32);
}
