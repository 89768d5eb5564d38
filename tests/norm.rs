//! Networks with normalisation: their gradients against central differences, running statistics, the same bits in less memory,
//! in a second run and after a restoration, predictions whose convolutions normalise, and PyTorch's values.
//!
//! `tools/golden_norm.py` made `tests/golden/norm.json`.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use support::normed::{Normed, PAIRS};
use support::{U, execute, executor, gpu};
use vnet_engine::data::Batch;
use vnet_engine::graph::{Graph, Op, Role, interpret, vector_jacobian};
use vnet_engine::kernel::Arena;
use vnet_engine::nn::loss::DiceCrossEntropy;
use vnet_engine::nn::model::{Model, initial_arena, tensors_to_arena};
use vnet_engine::nn::{BATCH_MOMENTUM, InferenceGraph, Kept, Network, Nonlinearity, Norm, TrainingGraph};
use vnet_engine::ops::{GRADIENT_OPS, LinearUnit, Moments, Normalise, NormaliseRunning, Rectifier};
use vnet_engine::plan::{ArenaLayout, Request, plan};
use vnet_engine::tensor::{HostTensor, TensorSpec, ValueId};
use vnet_engine::train::{MemoryMode, Trainer, TrainerSettings};

const EXTENTS: [usize; 3] = [4, 6, 8];
const VOXELS: usize = EXTENTS[0] * EXTENTS[1] * EXTENTS[2];

fn main() {
    support::run_trials(&[
        ("gradients_of_networks_are_central_differences", false, gradients_of_networks_are_central_differences),
        ("running_statistics_follow_those_of_the_passes", true, running_statistics_follow_those_of_the_passes),
        ("the_optimiser_leaves_statistics_alone", true, the_optimiser_leaves_statistics_alone),
        ("less_memory_gives_the_same_bits", true, less_memory_gives_the_same_bits),
        ("a_restored_training_goes_on_with_the_same_bits", true, a_restored_training_goes_on_with_the_same_bits),
        ("batch_normalisation_is_folded_into_convolutions", true, batch_normalisation_is_folded_into_convolutions),
        ("a_single_voxel_has_no_variance", false, a_single_voxel_has_no_variance),
        ("pytorch_has_the_same_values_and_gradients", false, pytorch_has_the_same_values_and_gradients),
        ("values_in_pieces_give_the_bits_of_the_whole", true, values_in_pieces_give_the_bits_of_the_whole),
    ]);
}

fn network(norm: Norm, nonlinearity: Nonlinearity) -> Network {
    Network::new(2, 3, Normed { norm, nonlinearity })
}

/// A fractional part of something irregular, in -1..1.
fn noise(i: usize) -> f64 {
    let x = ((i as f64 + 1.0) * 12.9898).sin() * 43_758.547;
    2.0 * (x - x.floor()) - 1.0
}

fn batch(number: usize, samples: usize) -> Batch {
    Batch {
        image: (0..samples * VOXELS * 2).map(|i| (1.5 * noise(i + 7919 * number) + 0.3) as f32).collect(),
        label: (0..samples * VOXELS).map(|i| ((i / 5 + number) % 3) as u32).collect(),
        ..Batch::default()
    }
}

/// Image, labels and parameters of a training graph; parameters are moved a little, so that none is 0 or 1.
fn feeds(t: &TrainingGraph, batch: &Batch) -> HashMap<ValueId, HostTensor> {
    let layout = ArenaLayout::new(&t.graph);
    let arena = initial_arena(&t.graph, &layout, 3, 1.0);
    let tensor = |value: ValueId, data: Vec<f64>| (value, HostTensor::new(t.graph.spec(value).clone(), data));
    let parameters = t.graph.parameters().iter().zip(&layout.windows).map(|(p, w)| {
        let moved = |i: usize| f64::from((f64::from(arena[w.start + i]) + 0.2 * noise(w.start + i)) as f32);
        tensor(p.value, (0..w.len).map(moved).collect())
    });
    let inputs = [
        tensor(t.image, batch.image.iter().map(|&x| f64::from(x)).collect()),
        tensor(t.labels, batch.label.iter().map(|&x| f64::from(x)).collect()),
    ];
    parameters.chain(inputs).collect()
}

/// Of every parameter, in f64: along a random direction. The statistic's own place holds that of the batch, times the scale.
fn gradients_of_networks_are_central_differences() {
    let scale = 0.5;
    for (norm, nonlinearity) in PAIRS {
        let network = network(norm, nonlinearity);
        let t = TrainingGraph::new(&network, &DiceCrossEntropy::default(), 2, EXTENTS, scale).expect("valid");
        let feeds = feeds(&t, &batch(1, 2));
        let values = interpret(&t.graph, &feeds).expect("fed");
        // The forward pass alone, which is what moves.
        let loss =
            |feeds: &HashMap<ValueId, HostTensor>| interpret(&t.graph, feeds).expect("fed")[t.loss.index()].data[0];
        for (parameter, gradient) in t.graph.parameters().iter().zip(&t.gradients) {
            let (name, gradient) = (&parameter.name, &values[gradient.index()].data);
            if parameter.role == Role::Statistic {
                let observed = &values[parameter.observed.expect("observed").index()].data;
                let scaled: Vec<f64> = observed.iter().map(|x| f64::from(scale) * x).collect();
                assert_eq!(*gradient, scaled, "{name}");
                continue;
            }
            let direction: Vec<f64> = (0..gradient.len()).map(|i| noise(i + 31)).collect();
            let step = 1e-6;
            let at = |sign: f64| {
                let mut moved = feeds.clone();
                let tensor = moved.get_mut(&parameter.value).expect("fed");
                tensor.data.iter_mut().zip(&direction).for_each(|(x, d)| *x += sign * step * d);
                loss(&moved)
            };
            let numeric = f64::from(scale) * (at(1.0) - at(-1.0)) / (2.0 * step);
            let products = gradient.iter().zip(&direction).map(|(g, d)| g * d);
            let analytic: f64 = products.clone().sum();
            // Rounding is of order 1e-16 / step = 1e-10 of the loss, truncation of order step^2; a kink within a step of one of
            // some thousand elements would move the result by that element's part.
            let bound = 1e-7 * (1.0 + products.map(f64::abs).sum::<f64>());
            assert!((numeric - analytic).abs() <= bound, "{norm:?} {nonlinearity:?} {name}: {numeric}, {analytic}");
        }
    }
}

/// One step of two passes. The first normalisation is of the image, whose statistics are known.
fn running_statistics_follow_those_of_the_passes() {
    let network = network(Norm::Batch, Nonlinearity::Elu);
    let settings = TrainerSettings { batch: 4, accumulation: 2, ..TrainerSettings::default() };
    let mut trainer = Trainer::new(gpu(), &network, &settings, EXTENTS).expect("it fits");
    trainer.initialise(3, 1.0);
    let batches = [batch(1, 2), batch(2, 2)];
    trainer.step(&batches, 1e-2).expect("a step");
    trainer.finish().expect("a step");
    let arena = trainer.parameters().expect("parameters");
    let elements = (2 * VOXELS) as f64;
    for channel in 0..2 {
        let moments: Vec<[f64; 2]> = (batches.iter())
            .map(|batch| {
                let of_channel = || batch.image.iter().skip(channel).step_by(2).map(|&x| f64::from(x));
                let mean = of_channel().sum::<f64>() / elements;
                let squares: f64 = of_channel().map(|x| (x - mean).powi(2)).sum();
                [mean, squares / (elements - 1.0)]
            })
            .collect();
        for (part, start, which) in [("running_mean", 0.0, 0), ("running_var", 1.0, 1)] {
            let name = format!("encoder.0.norm.0.{part}");
            let position = trainer.training().graph.parameters().iter().position(|p| p.name == name).expect("there");
            let found = f64::from(arena[trainer.layout().windows[position].start + channel]);
            let mean = (moments[0][which] + moments[1][which]) / 2.0;
            let expected = start + f64::from(BATCH_MOMENTUM) * (mean - start);
            // Differences and squares of at most 2.4, whose means lose fewer than 100 and 1000 roundings (src/ops/norm/bounds.rs), of
            // which a tenth remains; and roundings of the update.
            let bound = U * (0.1 * [100.0 * 2.4, 1000.0 * 2.4 * 2.4][which] + 4.0);
            assert!((found - expected).abs() <= bound, "{name} {channel}: {found}, expected {expected}");
        }
    }
}

/// Moments of statistics stay 0, weight decay does not shrink them, and the norm is that of the gradients alone.
fn the_optimiser_leaves_statistics_alone() {
    let network = network(Norm::Batch, Nonlinearity::LeakyRelu(0.1));
    let mut settings = TrainerSettings { ema_decay: Some(0.9), batch: 2, ..TrainerSettings::default() };
    settings.optimiser.weight_decay = 0.1;
    let mut trainer = Trainer::new(gpu(), &network, &settings, EXTENTS).expect("it fits");
    trainer.initialise(3, 1.0);
    let before = trainer.parameters().expect("parameters");
    trainer.backward(&batch(1, 2)).expect("a pass");
    let gradients = trainer.gradients().expect("gradients");
    // It may be among the results of the update already.
    let mut results = trainer.update(1e-2).expect("an update");
    results.extend(trainer.finish().expect("a step"));
    let norm = results.last().expect("one").gradient_norm;
    let layout = trainer.layout().clone();
    assert!(layout.trained < layout.elements && layout.decayed < layout.trained);
    let squares = |range: &[f32]| range.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    let expected = squares(&gradients[..layout.trained]).sqrt();
    // The norm's roundings (src/optim/bounds.rs).
    assert!((norm - expected).abs() <= 60.0 * U * expected, "{norm}, expected {expected}");
    assert!(squares(&gradients[layout.trained..]) > 0.0);
    let (first, second) = trainer.moments().expect("moments");
    let second = second.expect("Adam has two");
    assert!(first[..layout.trained].iter().any(|&m| m != 0.0));
    assert!([&first, &second].iter().all(|moments| moments[layout.trained..].iter().all(|&m| m == 0.0)));
    let after = trainer.parameters().expect("parameters");
    let average = trainer.average().expect("readable").expect("an average");
    for i in layout.trained..layout.elements {
        let moved = before[i] + BATCH_MOMENTUM * (gradients[i] - before[i]);
        assert!((after[i] - moved).abs() <= 4.0 * f32::EPSILON * (1.0 + moved.abs()), "{i}: {}, {moved}", after[i]);
    }
    // Averages follow the statistics after the step, with weight 9 / 11.
    let changed = (layout.trained..layout.elements).filter(|&i| after[i] != before[i]).count();
    let followed = |&i: &usize| (average[i] - before[i] - 9.0 / 11.0 * (after[i] - before[i])).abs() < 1e-6;
    assert!(
        changed > 0 && (layout.trained..layout.elements).filter(followed).count() == layout.elements - layout.trained
    );
}

/// Arenas after some steps, as bits.
fn trained(network: &Network, settings: &TrainerSettings, steps: usize) -> (Vec<u32>, Trainer) {
    let mut trainer = Trainer::new(gpu(), network, settings, EXTENTS).expect("it fits");
    trainer.initialise(3, 1.0);
    for step in 0..steps {
        trainer.step(&[batch(step, 2)], 1e-2).expect("a step");
    }
    trainer.finish().expect("steps");
    (bits(&trainer), trainer)
}

fn bits(trainer: &Trainer) -> Vec<u32> {
    trainer.parameters().expect("parameters").iter().map(|x| x.to_bits()).collect()
}

fn less_memory_gives_the_same_bits() {
    for (norm, nonlinearity) in PAIRS {
        let network = network(norm, nonlinearity);
        let normal = TrainerSettings { batch: 2, ..TrainerSettings::default() };
        let low = TrainerSettings { memory: MemoryMode::Low, ..normal.clone() };
        let (expected, trainer) = trained(&network, &normal, 3);
        assert!(trained(&network, &normal, 3).0 == expected, "{norm:?}: a second run");
        assert!(trained(&network, &low, 3).0 == expected, "{norm:?}: less memory");
        let training = trainer.training();
        let gradients = |training: &TrainingGraph| {
            let outputs = [training.loss];
            let request = Request { gradients: &training.gradients, ..Request::inference(&training.graph, &outputs) };
            let plan = plan(&request, gpu().target()).expect("it fits");
            let executor = vnet_engine::exec::Executor::new(Arc::clone(gpu()), plan).expect("it fits");
            executor.write_arena(Arena::Parameters, &trainer.parameters().expect("parameters"));
            let batch = batch(5, 2);
            executor.write(training.image, bytemuck::cast_slice(&batch.image));
            executor.write(training.labels, bytemuck::cast_slice(&batch.label));
            executor.run(0).expect("the device runs");
            executor.read_arena(Arena::Gradients).expect("gradients").iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let expected = gradients(training);
        for kept in [Kept::Convolutions, Kept::Boundaries] {
            let recomputing = training.recomputing(&vec![kept; training.stages().len()]);
            assert!(recomputing.recomputed_share() > 0.0);
            assert!(gradients(&recomputing) == expected, "{norm:?} {kept:?}");
        }
    }
}

/// Four steps at once, and two, a model file in between, and two more.
fn a_restored_training_goes_on_with_the_same_bits() {
    let network = network(Norm::Batch, Nonlinearity::Prelu);
    let settings = TrainerSettings { batch: 2, ..TrainerSettings::default() };
    let (expected, _) = trained(&network, &settings, 4);
    let (_, first) = trained(&network, &settings, 2);
    let (moment1, moment2) = first.moments().expect("moments");
    let (graph, layout) = (&first.training().graph, first.layout());
    let model = Model::from_arena(graph, layout, &first.parameters().expect("parameters"), &network, None);
    assert!(model.tensors.contains_key("encoder.1.norm.3.running_var"));
    let mut second = Trainer::new(gpu(), &network, &settings, EXTENTS).expect("it fits");
    let arena = tensors_to_arena(graph, layout, &model.tensors);
    second.restore(2, &arena, &moment1, moment2.as_deref());
    for step in 2..4 {
        second.step(&[batch(step, 2)], 1e-2).expect("a step");
    }
    second.finish().expect("steps");
    assert!(bits(&second) == expected);
}

/// In f64 the folded network is one that normalises by running statistics after each convolution; the device runs no kernel of a
/// normalisation on voxels but that of the image.
fn batch_normalisation_is_folded_into_convolutions() {
    let network = network(Norm::Batch, Nonlinearity::LeakyRelu(0.1));
    let inference = InferenceGraph::new(&network, 1, EXTENTS).expect("valid");
    let graph = &inference.graph;
    let tensor = |value: ValueId, f: &dyn Fn(usize) -> f64| {
        let spec = graph.spec(value).clone();
        let data = (0..spec.elements()).map(|i| f64::from(f(i) as f32)).collect();
        (value, HostTensor::new(spec, data))
    };
    let parameters = graph.parameters().iter().enumerate().map(|(n, p)| {
        let is_variance = p.name.ends_with("running_var");
        tensor(p.value, &|i| if is_variance { 1.5 + noise(97 * n + i) } else { 0.5 * noise(97 * n + i) + 0.2 })
    });
    let feeds: HashMap<_, _> = parameters.chain([tensor(inference.image, &|i| noise(i))]).collect();
    let values = interpret(graph, &feeds).expect("fed");
    let of = |name: &str| {
        let parameter = graph.parameters().iter().find(|p| p.name == name).expect("declared");
        &feeds[&parameter.value].data
    };
    for (convolution, norm) in [("encoder.0.conv.1", "encoder.0.norm.1"), ("decoder.0.up", "decoder.0.norm.4")] {
        let nodes: Vec<_> = graph.nodes().iter().filter(|node| node.name == convolution).collect();
        let [plain, folded] = [nodes[0], nodes[1]].map(|node| &values[node.outputs[0].index()]);
        let part = |part: &str| of(&format!("{norm}.{part}"));
        let channels = part("weight").len();
        for (i, (x, y)) in plain.data.iter().zip(&folded.data).enumerate() {
            let c = i % channels;
            let scale = part("weight")[c] / (part("running_var")[c] + f64::from(vnet_engine::nn::NORM_EPSILON)).sqrt();
            let expected = (x - part("running_mean")[c]) * scale + part("bias")[c];
            assert!((y - expected).abs() <= 1e-12 * (1.0 + x.abs()), "{convolution} {i}: {y}, expected {expected}");
        }
    }
    let executor = executor(gpu(), gpu().target(), graph, &[inference.logits]);
    let steps = &executor.plan().programs[0].steps;
    let count = |op: &str| steps.iter().filter(|step| step.op == op).count();
    assert_eq!(
        ["conv3d", "conv_transpose3d", "fold_norm", "normalise_running", "normalise"].map(count),
        [4, 1, 4, 1, 0]
    );
    let fed: Vec<_> = feeds.clone().into_iter().collect();
    let found = execute(&executor, graph, &fed, &[inference.logits]).swap_remove(0);
    let expected = &values[inference.logits.index()];
    // Fewer than 1000 products for an output, through six layers.
    let bound = 6.0 * 1000.0 * U * expected.max_abs();
    support::compare(&found, expected, |_| bound).expect("the device agrees");
}

fn a_single_voxel_has_no_variance() {
    for (norm, expected) in [
        (Norm::Instance, "more than one element per sample and channel"),
        (Norm::Batch, "more than one element per channel"),
    ] {
        let network = network(norm, Nonlinearity::Relu);
        let error = TrainingGraph::new(&network, &DiceCrossEntropy::default(), 1, [2; 3], 1.0).expect_err("one voxel");
        assert!(error.to_string().contains(expected), "{error}");
    }
    // Two samples are a batch.
    let network = network(Norm::Batch, Nonlinearity::Relu);
    TrainingGraph::new(&network, &DiceCrossEntropy::default(), 2, [2; 3], 1.0).expect("two voxels");
}

/// PyTorch's modules, in f64.
#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<GoldenCase>,
}

#[derive(serde::Deserialize)]
struct GoldenCase {
    name: String,
    shape: [usize; 5],
    input: Vec<f64>,
    #[serde(default)]
    weight: Vec<f64>,
    #[serde(default)]
    bias: Vec<f64>,
    #[serde(default)]
    slope: Vec<f64>,
    grad_output: Vec<f64>,
    output: Vec<f64>,
    grad_input: Vec<f64>,
    #[serde(default)]
    grad_weight: Vec<f64>,
    #[serde(default)]
    grad_bias: Vec<f64>,
    #[serde(default)]
    grad_slope: Vec<f64>,
    #[serde(default)]
    running_mean: Vec<f64>,
    #[serde(default)]
    running_var: Vec<f64>,
    #[serde(default)]
    prediction: Vec<f64>,
}

impl GoldenCase {
    /// The normalisation of the name's first word with the activation function of its second.
    fn operations(&self) -> (Option<Normalise>, Option<LinearUnit>) {
        let mut words = self.name.split(' ');
        let moments = match words.next().expect("a word") {
            "instance" => Some(Moments::Instance),
            "group" => Some(Moments::Group(2)),
            "batch" => Some(Moments::Batch),
            _ => None,
        };
        // 1/16 and 2^-17 are those of the script.
        let (rectifier, unit) = match words.next() {
            None => (Rectifier::NONE, None),
            Some("relu") => (Rectifier::Leaky(0.0), None),
            Some("leaky_relu") => (Rectifier::Leaky(0.0625), Some(LinearUnit::Leaky(0.0625))),
            Some("prelu") => (Rectifier::Prelu, None),
            Some("elu") => (Rectifier::NONE, Some(LinearUnit::Exponential)),
            Some(other) => panic!("{other}"),
        };
        let epsilon = 0.5f32.powi(17);
        (moments.map(|moments| Normalise { moments, epsilon, rectifier }), unit.filter(|_| moments.is_none()))
    }
}

/// Both in f64: sums of at most 48 terms of a few units, in another order.
fn is_torchs(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-12 * largest, "{what} {i}: {f}, PyTorch has {e}");
    }
}

fn pytorch_has_the_same_values_and_gradients() {
    let golden: Golden = serde_json::from_str(include_str!("golden/norm.json")).expect("golden data");
    assert_eq!(golden.cases.len(), 7);
    for case in &golden.cases {
        let mut graph = Graph::new();
        let input = graph.input("input", TensorSpec::f32(case.shape));
        let vectors: Vec<&Vec<f64>> =
            [&case.weight, &case.bias, &case.slope].into_iter().filter(|v| !v.is_empty()).collect();
        let values: Vec<ValueId> = vectors.iter().map(|v| graph.input("vector", TensorSpec::f32([v.len()]))).collect();
        let inputs = [&[input], &values[..]].concat();
        let (norm, unit) = case.operations();
        let outputs = match (norm, unit) {
            (Some(norm), None) => graph.append(Box::new(norm), &inputs),
            (None, Some(unit)) => graph.append(Box::new(unit), &inputs),
            other => panic!("{other:?}"),
        }
        .expect("defined");
        let upstream = graph.input("upstream", TensorSpec::f32(case.shape));
        let gradients = vector_jacobian(&mut graph, outputs[0], upstream, &inputs, GRADIENT_OPS).expect("gradients");
        let data = [&[&case.input], &vectors[..], &[&case.grad_output]].concat();
        let fed = inputs.iter().copied().chain([upstream]).zip(data);
        let feeds: HashMap<_, _> =
            fed.map(|(v, data)| (v, HostTensor::new(graph.spec(v).clone(), data.clone()))).collect();
        let found = interpret(&graph, &feeds).expect("fed");
        let of = |value: ValueId| &found[value.index()].data;
        is_torchs(&case.name, of(outputs[0]), &case.output);
        let expected = [&case.grad_input, &case.grad_weight, &case.grad_bias, &case.grad_slope];
        for (gradient, expected) in gradients.into_iter().zip(expected) {
            is_torchs(&case.name, of(gradient.expect("a gradient")), expected);
        }
        if let (Some(norm), true) = (norm, !case.prediction.is_empty()) {
            is_torchs_prediction(case, norm, [of(outputs[2]), of(outputs[3])]);
        }
    }
}

/// Running statistics after one step from 0 and 1, and the prediction by them.
fn is_torchs_prediction(case: &GoldenCase, norm: Normalise, batch: [&Vec<f64>; 2]) {
    let running = [(0.0, batch[0]), (1.0, batch[1])].map(|(start, of_batch)| {
        let mut values = vec![start; of_batch.len()];
        // PyTorch's momentum is 0.1 in f64.
        vnet_engine::optim::reference::follow(0.1, of_batch, &mut values);
        values
    });
    is_torchs(&case.name, &running[0], &case.running_mean);
    is_torchs(&case.name, &running[1], &case.running_var);
    let op = NormaliseRunning { epsilon: norm.epsilon, rectifier: norm.rectifier };
    let vector = |data: &Vec<f64>| HostTensor::new(TensorSpec::f32([data.len()]), data.clone());
    let mut inputs = vec![HostTensor::new(TensorSpec::f32(case.shape), case.input.clone())];
    inputs.extend([&case.weight, &case.bias, &running[0], &running[1]].map(vector));
    inputs.extend((!case.slope.is_empty()).then(|| vector(&case.slope)));
    let found = op.reference(&inputs.iter().collect::<Vec<_>>()).swap_remove(0);
    is_torchs(&case.name, &found.data, &case.prediction);
}

/// A sample that is larger than a binding may be: the moments of its pieces, its result and its gradients have the bits of the whole.
fn values_in_pieces_give_the_bits_of_the_whole() {
    // 18 tiles, of which the partial sums of eight start where a binding may: two pieces and a rest.
    let spec = TensorSpec::f32([1, 64, 48, 48, 8]);
    for moments in [Moments::Instance, Moments::Group(2), Moments::Batch] {
        let mut graph = Graph::new();
        let mut inputs = vec![graph.input("input", spec.clone())];
        inputs.extend((0..3).map(|_| graph.input("vector", TensorSpec::f32([8]))));
        let op = Normalise { moments, epsilon: 1e-5, rectifier: Rectifier::Prelu };
        let output = graph.add(op, &inputs).expect("defined");
        let output = graph.add(LinearUnit::Exponential, &[output]).expect("defined");
        let upstream = graph.input("upstream", spec.clone());
        let gradients = vector_jacobian(&mut graph, output, upstream, &inputs, GRADIENT_OPS).expect("gradients");
        let wanted: Vec<ValueId> = [output].into_iter().chain(gradients.into_iter().flatten()).collect();
        inputs.push(upstream);
        let feeds: Vec<(ValueId, HostTensor)> = (inputs.iter())
            .map(|&v| (v, HostTensor::from_fn(graph.spec(v).shape.clone(), |i| f64::from((noise(i) + 0.4) as f32))))
            .collect();
        let whole = support::run(gpu(), gpu().target(), &graph, &feeds, &wanted);
        let narrow = gpu().target().clone().with_max_binding_bytes(spec.bytes() / 2);
        assert!(support::run(gpu(), &narrow, &graph, &feeds, &wanted) == whole, "{moments:?}");
        assert!(whole.iter().all(|tensor| tensor.max_abs() > 0.0));
    }
}
