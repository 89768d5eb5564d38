//! Deep supervision, weights of classes and dropout in whole networks.

#[path = "support/supervised.rs"]
mod supervised;
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use supervised::Supervised;
use support::gpu;
use vnet_engine::data::Batch;
use vnet_engine::graph::{Graph, interpret};
use vnet_engine::nn::loss::{CrossEntropy, DiceCrossEntropy};
use vnet_engine::nn::{Activation, InferenceGraph, Loss, Network, Objective, TrainingGraph, dropout_key};
use vnet_engine::tensor::{HostTensor, TensorSpec, ValueId};
use vnet_engine::train::{Config, MemoryMode, Preset, Setting, Trainer, TrainerSettings};

fn main() {
    support::run_trials(&[
        ("the_loss_is_the_weighted_sum_over_the_resolutions", false, the_loss_is_the_weighted_sum_over_the_resolutions),
        ("the_gradient_is_that_of_the_weighted_sum", false, the_gradient_is_that_of_the_weighted_sum),
        ("both_modes_have_the_same_parameters", false, both_modes_have_the_same_parameters),
        ("wrong_weights_are_refused_by_their_key", false, wrong_weights_are_refused_by_their_key),
        ("weights_of_a_file_are_written_where_there_are_any", false, weights_of_a_file_are_written_where_there_are_any),
        ("a_training_repeats_itself_to_the_bit", true, a_training_repeats_itself_to_the_bit),
        ("dropout_depends_on_seed_step_and_sample_alone", true, dropout_depends_on_seed_step_and_sample_alone),
    ]);
}

/// No axis divides by the network's divisor.
const EXTENTS: [usize; 3] = [3, 6, 5];
const PADDED: [usize; 3] = [4, 8, 6];
const VOXELS: usize = 2 * 3 * 6 * 5;

fn network(rate: f32) -> Network {
    Network::new(2, 3, Supervised { rate })
}

fn wave(i: usize, frequency: f64) -> f64 {
    f64::from(((i as f64 * frequency).sin() * 1.5) as f32)
}

/// Labels with ignored voxels.
fn labels() -> Vec<f64> {
    (0..VOXELS).map(|i| [0.0, 1.0, 2.0, 1.0, 77.0, 0.0, 2.0][(i * i + 3 * i) % 7]).collect()
}

struct Example {
    training: TrainingGraph,
    feeds: HashMap<ValueId, HostTensor>,
}

fn example(loss: &dyn Loss, resolution_weights: &[f32], class_weights: &[f32]) -> Example {
    let objective = Objective { loss, class_weights, resolution_weights };
    let training = TrainingGraph::of_objective(&network(0.25), objective, 2, EXTENTS, 1.0).expect("defined");
    let spec = |value: ValueId| training.graph.spec(value).clone();
    let image = HostTensor::from_fn(spec(training.image).shape, |i| wave(i, 0.7));
    let keys = (0..2).flat_map(|sample| dropout_key(5, sample)).map(f64::from).collect();
    let mut feeds = HashMap::from([
        (training.image, image),
        (training.labels, HostTensor::new(spec(training.labels), labels())),
        (training.dropout.expect("there is dropout"), HostTensor::new(TensorSpec::u32([2, 2]), keys)),
    ]);
    for (i, parameter) in training.graph.parameters().iter().enumerate() {
        let shape = spec(parameter.value).shape;
        feeds.insert(parameter.value, HostTensor::from_fn(shape, |j| 0.4 * wave(j + 31 * i, 1.3)));
    }
    Example { training, feeds }
}

/// The logits of a head by the name of its node.
fn logits_of(graph: &Graph, name: &str) -> ValueId {
    graph.nodes().iter().find(|node| node.name == name).expect("a head").outputs[0]
}

/// Cross-entropy of logits of windows of the padded labels, from the definition.
fn cross_entropy(logits: &HostTensor, offset: [usize; 3], labels: &[f64], weights: [f64; 3]) -> f64 {
    let [n, d, h, w, classes] = logits.shape()[..] else { panic!("logits") };
    let window = [PADDED[0] / d, PADDED[1] / h, PADDED[2] / w];
    let (mut sum, mut mass) = (0.0, 0.0);
    for o in 0..n * d * h * w {
        let at = [o / (w * h) % d, o / w % h, o % w];
        let mut counts = [0.0; 3];
        for j in 0..window.iter().product::<usize>() {
            let step = [j / (window[1] * window[2]), j / window[2] % window[1], j % window[2]];
            let voxel: [usize; 3] = std::array::from_fn(|a| (at[a] * window[a] + step[a]).wrapping_sub(offset[a]));
            if (0..3).all(|a| voxel[a] < EXTENTS[a]) {
                let sample = o / (w * h * d);
                let i = ((sample * EXTENTS[0] + voxel[0]) * EXTENTS[1] + voxel[1]) * EXTENTS[2] + voxel[2];
                if labels[i] < 3.0 {
                    counts[labels[i] as usize] += 1.0;
                }
            }
        }
        let all: f64 = counts.iter().sum();
        let x = &logits.data[o * classes..][..classes];
        let total = x.iter().map(|x| x.exp()).sum::<f64>().ln();
        for k in (0..classes).filter(|_| all > 0.0) {
            sum += weights[k] * counts[k] / all * (total - x[k]);
            mass += weights[k] * counts[k] / all;
        }
    }
    sum / mass
}

fn the_loss_is_the_weighted_sum_over_the_resolutions() {
    let plain = CrossEntropy { weighted: false };
    let halved: &[f64] = &[2.0 / 3.0, 1.0 / 3.0, 0.0];
    let cases: [(&[f32], &[f32], &[f64]); 3] =
        [(&[], &[], halved), (&[2.0, 1.0, 1.0], &[], &[0.5, 0.25, 0.25]), (&[], &[0.5, 1.0, 4.0], halved)];
    for (given, class_weights, weights) in cases {
        let Example { training, feeds } = example(&plain, given, class_weights);
        let values = interpret(&training.graph, &feeds).expect("every input is fed");
        // The head's own logits are those before they are cropped.
        let heads = ["head", "aux.1", "aux.2"].map(|name| &values[logits_of(&training.graph, name).index()]);
        let of_classes: Vec<f64> = class_weights.iter().copied().map(f64::from).collect();
        let of_classes: [f64; 3] = of_classes.try_into().unwrap_or([1.0; 3]);
        // Half of the padding, rounded down, is before.
        let losses = heads.map(|logits| cross_entropy(logits, [0, 1, 0], &labels(), of_classes));
        let expected: f64 = losses.iter().zip(weights).map(|(loss, weight)| loss * weight).sum();
        let found = values[training.loss.index()].data[0];
        // Weights are rounded to f32.
        assert!((found - expected).abs() < 4.0 * support::U * expected, "{given:?}: {found}, not {expected}");
        assert!(losses[0] > 0.5 && (losses[0] - losses[1]).abs() > 0.01, "{losses:?}");
    }
}

/// Central differences in f64, with dropout, padding and ignored voxels.
fn the_gradient_is_that_of_the_weighted_sum() {
    for given in [&[][..], &[1.0, 1.0, 2.0]] {
        let Example { training, feeds } = example(&DiceCrossEntropy::default(), given, &[1.0, 2.0, 0.5]);
        let values = interpret(&training.graph, &feeds).expect("every input is fed");
        let loss = |sign: f64, parameter: ValueId| {
            let mut moved = feeds.clone();
            let tensor = moved.get_mut(&parameter).expect("fed");
            tensor.data.iter_mut().enumerate().for_each(|(i, x)| *x += sign * 1e-5 * wave(i, 2.1));
            interpret(&training.graph, &moved).expect("fed")[training.loss.index()].data[0]
        };
        for (parameter, gradient) in training.graph.parameters().iter().zip(&training.gradients) {
            let gradient = &values[gradient.index()];
            let terms = gradient.data.iter().enumerate().map(|(i, g)| g * wave(i, 2.1));
            let analytic: f64 = terms.clone().sum();
            let numeric = (loss(1.0, parameter.value) - loss(-1.0, parameter.value)) / 2e-5;
            // Truncation is of order 1e-10 and rounding 1e-11 of the loss; a kink of a PReLU within 1e-5 of a voxel adds as
            // much as it changes of the gradient, in one of hundreds of voxels.
            let scale = terms.map(f64::abs).sum::<f64>() + 1e-3;
            assert!((numeric - analytic).abs() < 2e-3 * scale, "{}: {numeric}, not {analytic}", parameter.name);
            let unused = given.is_empty() && parameter.name.starts_with("aux.2");
            assert_eq!(gradient.max_abs() == 0.0, unused, "{}", parameter.name);
        }
    }
}

fn both_modes_have_the_same_parameters() {
    let objective = Objective::from(&CrossEntropy { weighted: false } as &dyn Loss);
    let training = TrainingGraph::of_objective(&network(0.25), objective, 1, EXTENTS, 1.0).expect("defined");
    let inference = InferenceGraph::new(&network(0.25), 1, EXTENTS).expect("defined");
    let names = |graph: &Graph| graph.parameters().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&training.graph), names(&inference.graph));
    assert!(names(&inference.graph).contains(&"aux.1.weight".to_owned()));
    let runs = |graph: &Graph, what: &str| graph.nodes().iter().any(|node| node.op.name() == what || node.name == what);
    assert!(runs(&training.graph, "dropout") && runs(&training.graph, "aux.1"));
    assert!(!runs(&inference.graph, "dropout") && !runs(&inference.graph, "aux.1"));
    assert_eq!(inference.layers.len(), training.layers.len());
    assert_eq!(network(0.0).resolutions(), 3);
    let none = TrainingGraph::of_objective(&network(0.0), objective, 1, EXTENTS, 1.0).expect("defined");
    assert!(none.dropout.is_none() && !runs(&none.graph, "dropout"));
}

fn wrong_weights_are_refused_by_their_key() {
    let checked = |settings: &[&str], network: &Network| {
        let config = Config::from_text(Preset::Tiny, None, &Setting::parse_all(settings))?;
        config.check_network(network)
    };
    let refused = |settings: &[&str], network: &Network| checked(settings, network).expect_err("wrong").to_string();
    let (three, plain) = (network(0.0), Preset::Tiny.config().network(1, 2));
    for (key, value, least) in [
        ("class_weights", "[1.0, -1.0, 1.0]", "one at least"),
        ("deep_supervision_weights", "[0.0, 0.0, 0.0]", "the first"),
        ("deep_supervision_weights", "[0.0, 1.0, 1.0]", "the first"),
    ] {
        let found = refused(&[&format!("training.{key}={value}")], &three);
        let expected =
            format!("key training.{key}: expected numbers from 0 to 1000, {least} above 0, or an empty list");
        assert!(found.contains(&expected), "{found}");
    }
    for (settings, network, expected) in [
        (
            &["training.class_weights=[1, 2]"][..],
            &three,
            "expected 3 numbers, one for each of the classes, or an empty list",
        ),
        (
            &["training.class_weights=[1, 0, 0]"],
            &three,
            "expected one number above 0 at least for the classes of the foreground",
        ),
        (
            &["training.loss=topk", "training.class_weights=[1, 2, 3]"],
            &three,
            "expected an empty list, since the loss topk reads no weights",
        ),
        (
            &["training.deep_supervision_weights=[1, 1]"],
            &three,
            "expected 3 numbers, one for each resolution, or an empty list",
        ),
        (
            &["training.deep_supervision_weights=[1, 1]"],
            &plain,
            "expected an empty list, since the network has no deep supervision",
        ),
    ] {
        let found = refused(settings, network);
        assert!(found.starts_with("configuration: key training.") && found.contains(expected), "{found}");
    }
    let regions = network(0.0).with_activation(Activation::Sigmoid);
    let good = ["training.class_weights=[1, 0.5, 0]", "training.deep_supervision_weights=[2, 1, 0]"];
    assert_eq!(checked(&good, &regions).map_err(|error| error.to_string()), Ok(()));
    let short = TrainerSettings { deep_supervision_weights: vec![1.0], ..TrainerSettings::default() };
    let error = Trainer::plan_for(&three, &short, EXTENTS, gpu_target()).map(|_| ()).expect_err("one weight");
    assert!(error.to_string().contains("3 weights of resolutions, not 1"), "{error}");
}

fn gpu_target() -> &'static vnet_engine::kernel::Target {
    static TARGET: std::sync::LazyLock<vnet_engine::kernel::Target> = std::sync::LazyLock::new(support::llvmpipe);
    &TARGET
}

fn weights_of_a_file_are_written_where_there_are_any() {
    let plain = Preset::Tiny.config();
    assert!(!plain.to_toml().contains("class_weights") && !plain.to_toml().contains("deep_supervision"));
    let settings = Setting::parse_all(["training.class_weights=[1, 2.5]", "training.deep_supervision_weights=[3, 1]"]);
    let config = Config::from_text(Preset::Tiny, None, &settings).expect("in range");
    let text = config.to_toml();
    assert!(text.contains("class_weights = [") && text.contains("deep_supervision_weights = ["), "{text}");
    let again = Config::from_text(Preset::Tiny, Some(("config.toml", &text)), &[]).expect("valid");
    assert_eq!((again.clone(), again.training.class_weights), (config, vec![1.0, 2.5]));
}

fn batch(samples: std::ops::Range<usize>) -> Batch {
    let (voxels, labels) = (VOXELS / 2, labels());
    Batch {
        image: (samples.start * voxels * 2..samples.end * voxels * 2).map(|i| wave(i, 0.7) as f32).collect(),
        label: labels[samples.start * voxels..samples.end * voxels].iter().map(|&label| label as u32).collect(),
        ..Batch::default()
    }
}

fn trainer(settings: &TrainerSettings) -> Trainer {
    let mut trainer = Trainer::new(gpu(), &network(0.4), settings, EXTENTS).expect("it fits");
    trainer.initialise(3, 0.5);
    trainer
}

fn settings() -> TrainerSettings {
    TrainerSettings { loss: Arc::new(DiceCrossEntropy::default()), batch: 2, seed: 9, ..TrainerSettings::default() }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Bits of the parameters after steps that end with step `last`.
fn steps(trainer: &mut Trainer, last: u64) -> Vec<u32> {
    while trainer.step_count() < last {
        trainer.step(&[batch(0..2)], 1e-2).expect("a step");
    }
    bits(&trainer.parameters().expect("the device answers"))
}

fn a_training_repeats_itself_to_the_bit() {
    let expected = steps(&mut trainer(&settings()), 6);
    assert_eq!(steps(&mut trainer(&settings()), 6), expected, "a second run");
    let low = TrainerSettings { memory: MemoryMode::Low, ..settings() };
    assert_eq!(steps(&mut trainer(&low), 6), expected, "with recomputation");
    let mut first = trainer(&settings());
    steps(&mut first, 3);
    let (parameters, (moment1, moment2)) = (first.parameters().expect("read"), first.moments().expect("read"));
    let mut resumed = trainer(&settings());
    resumed.restore(3, &parameters, &moment1, moment2.as_deref());
    assert_eq!(steps(&mut resumed, 6), expected, "resumed");
    let other = TrainerSettings { seed: 10, ..settings() };
    assert_ne!(steps(&mut trainer(&other), 6), expected, "another seed drops others");
}

fn dropout_depends_on_seed_step_and_sample_alone() {
    // The loss of step 1 after `before` steps without an effect, in this many passes.
    let loss = |settings: &TrainerSettings, before: u64| {
        let mut trainer = trainer(settings);
        let parameters = trainer.parameters().expect("read");
        let (moment1, moment2) = trainer.moments().expect("read");
        trainer.restore(before, &parameters, &moment1, moment2.as_deref());
        let batches = match trainer.passes() {
            1 => vec![batch(0..2)],
            _ => vec![batch(0..1), batch(1..2)],
        };
        let mut results = trainer.step(&batches, 1e-2).expect("a step");
        results.extend(trainer.finish().expect("the device answers"));
        results[0].loss
    };
    // Without ignored voxels a mean over two samples is that of the means; here voxels are ignored, so that only a loss per sample
    // is: soft Dice.
    let dice = TrainerSettings { loss: Arc::new(vnet_engine::nn::loss::Dice::default()), ..settings() };
    let once = loss(&dice, 0);
    assert_eq!(loss(&dice, 0).to_bits(), once.to_bits());
    let twice = loss(&TrainerSettings { accumulation: 2, ..dice.clone() }, 0);
    // The sums behind a loss below 1 have fewer than 200 roundings in either way.
    assert!((twice - once).abs() < 400.0 * support::U, "{twice} in two passes, {once} in one");
    for (other, what) in [(loss(&dice, 1), "step"), (loss(&TrainerSettings { seed: 10, ..dice.clone() }, 0), "seed")] {
        assert!((other - once).abs() > 1e-4, "another {what}: {other} and {once}");
    }
}
