//! The loops of the roofline against their definitions, and profiled runs against plain ones.

mod support;

use std::sync::Arc;
use support::{compare, gpu};
use vnet_engine::bench::{NetworkBench, bench_convolution};
use vnet_engine::data::Batch;
use vnet_engine::graph::{Graph, Op};
use vnet_engine::kernel::ConvolutionLayer;
use vnet_engine::nn::model::initial_arena;
use vnet_engine::profile::{CopyLoop, FmaLoop, Pass, Profile, Roofline};
use vnet_engine::tensor::HostTensor;
use vnet_engine::train::{Config, Preset, Setting, Trainer};

fn main() {
    support::run_trials(&[
        ("the_loops_compute_what_they_say", true, the_loops_compute_what_they_say),
        ("a_profiled_step_gives_the_same_bits", true, a_profiled_step_gives_the_same_bits),
        ("parts_add_up_to_the_whole", true, parts_add_up_to_the_whole),
        ("a_layer_has_four_kinds_of_run", true, a_layer_has_four_kinds_of_run),
    ]);
}

/// A number that no index pattern explains, exact in f32.
fn noise(i: usize) -> f64 {
    let x = ((i as f64 + 1.0) * 12.9898).sin() * 43_758.547;
    f64::from((2.0 * (x - x.floor()) - 1.0) as f32)
}

fn same(op: impl Op + Clone + 'static, inputs: &[HostTensor]) {
    let expected = op.reference(&inputs.iter().collect::<Vec<_>>()).remove(0);
    let mut graph = Graph::new();
    let values: Vec<_> = inputs.iter().map(|t| graph.input("input", t.spec.clone())).collect();
    let output = graph.add(op, &values).expect("valid");
    let feeds: Vec<_> = values.into_iter().zip(inputs.iter().cloned()).collect();
    let found = support::run(gpu(), gpu().target(), &graph, &feeds, &[output]).remove(0);
    // Both are exact in f32.
    compare(&found, &expected, |_| 0.0).unwrap_or_else(|e| panic!("{e}"));
}

fn the_loops_compute_what_they_say() {
    same(CopyLoop, &[HostTensor::from_fn([7, 113, 4], noise)]);
    same(FmaLoop { elements: 1000, iterations: 1 }, &[]);
    same(FmaLoop { elements: 77, iterations: 0 }, &[]);
}

fn config() -> Config {
    let keys = ["network.encoder=[1,2]", "network.decoder=[1]", "training.batch=2"];
    Config::load(Preset::Tiny, None, &Setting::parse_all(keys)).expect("valid")
}

fn batch(voxels: usize) -> Batch {
    Batch {
        image: (0..voxels).map(|i| noise(i) as f32).collect(),
        label: (0..voxels).map(|i| u32::from(noise(i + 7) > 0.3)).collect(),
        cases: vec!["a".to_owned(), "b".to_owned()],
        ..Batch::default()
    }
}

fn a_profiled_step_gives_the_same_bits() {
    let (config, extents) = (config(), [6, 10, 7]);
    let batches = [batch(2 * 6 * 10 * 7)];
    let mut ends = Vec::new();
    for profiled in [false, true] {
        let mut trainer =
            Trainer::new(gpu(), &config.network(1, 2), &config.trainer_settings(), extents).expect("it fits");
        let arena = initial_arena(&trainer.training().graph, trainer.layout(), 3, 0.05);
        trainer.set_parameters(&arena);
        let mut results = Vec::new();
        for _ in 0..2 {
            if profiled {
                let (arrived, timings) = trainer.profile_step(&batches, 1e-2).expect("a step");
                let profile = Profile::new(trainer.executor().plan(), &timings);
                let starts: Vec<f64> = profile.steps.iter().flat_map(|s| &s.dispatches).map(|d| d.start).collect();
                assert!(starts.is_sorted() && profile.seconds() > 0.0);
                assert!(
                    [Pass::Forward, Pass::Backward, Pass::Update].map(|p| profile.steps.iter().any(|s| s.pass == p))
                        == [true; 3]
                );
                results.extend(arrived);
            } else {
                results.extend(trainer.step(&batches, 1e-2).expect("a step"));
            }
        }
        results.extend(trainer.finish().expect("results"));
        assert_eq!(results.len(), 2);
        ends.push((results, trainer.parameters().expect("parameters")));
    }
    assert!(ends[0] == ends[1]);
}

fn roofline(gpu: &Arc<vnet_engine::gpu::Gpu>) -> Roofline {
    let roofline = Roofline::measure(gpu).expect("the device answers");
    assert!(roofline.copy_gb_per_s > 0.0 && roofline.copy_gb_per_s.is_finite());
    assert!(roofline.fma_gflop_per_s > 0.0 && roofline.fma_gflop_per_s.is_finite());
    roofline
}

fn parts_add_up_to_the_whole() {
    let (config, roofline) = (config(), roofline(gpu()));
    let network = config.network(1, 3);
    let extents = [6, 10, 7];
    let bench =
        NetworkBench { network: &network, config: &config, model: None, extents, repetitions: 2, profiled: true };
    let forward = bench.forward(gpu(), &roofline).expect("it runs");
    let training = bench.training_step(gpu(), &roofline).expect("it runs");
    for times in [&forward, &training] {
        assert_eq!(times.voxels, 2 * 6 * 10 * 7);
        assert_eq!(times.whole.seconds.len(), 2);
        let profile = times.profile.as_ref().expect("asked for");
        let total = profile.total(&roofline);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
        let (layers, kernels) = (profile.layers(&roofline), profile.kernels(&roofline));
        for sums in [
            layers.iter().map(|l| l.measure).collect::<Vec<_>>(),
            kernels.iter().map(|k| k.measure).collect::<Vec<_>>(),
        ] {
            assert!(near(sums.iter().map(|m| m.flops).sum(), times.measure.flops));
            assert!(near(sums.iter().map(|m| m.bytes).sum(), times.measure.bytes));
            assert!(near(sums.iter().map(|m| m.seconds).sum(), total.seconds));
            assert!(near(sums.iter().map(|m| m.roofline_seconds).sum(), times.measure.roofline_seconds));
            assert_eq!(sums.iter().map(|m| m.dispatches).sum::<usize>(), times.measure.dispatches);
        }
    }
    assert!(training.measure.flops > 2.5 * forward.measure.flops);
}

fn a_layer_has_four_kinds_of_run() {
    let layer = ConvolutionLayer::same_5([3, 5], [4, 7, 6], 2);
    let times = bench_convolution(gpu(), &roofline(gpu()), layer, 2).expect("it runs");
    let names: Vec<&str> = times.iter().map(|t| t.name).collect();
    assert_eq!(names, ["forward", "input gradient", "weight gradient", "forward and backward"]);
    // 2 flops per tap, voxel, input and output channel.
    let direct = (2 * 125 * 2 * 4 * 7 * 6 * 3 * 5) as f64;
    for t in &times[..3] {
        assert!(t.measure.flops >= direct && t.measure.flops < 1.05 * direct, "{t:?}");
        assert!(t.repeated.seconds.len() == 2 && t.measure.seconds > 0.0);
    }
    assert!(times[3].measure.flops >= 3.0 * direct);
}
