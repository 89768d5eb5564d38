//! Plans are legal: live values share no slot, no dispatch reads and writes one buffer, limits hold, little is wasted.

mod support;

use proptest::prelude::*;
use support::{GPU, as_gpu, llvmpipe};
use vnet_engine::graph::{Graph, Initial, Lowering, gradients};
use vnet_engine::infer::Predictor;
use vnet_engine::kernel::{Access, Algorithms, DeviceLimits, Target};
use vnet_engine::nn::loss::{CrossEntropy, Dice};
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Activation, InferenceGraph, Kept, Loss, LossInputs, Network, TrainingGraph, initialise};
use vnet_engine::ops::{Conv3d, GRADIENT_OPS, Prelu};
use vnet_engine::plan::{Lifetime, Plan, PlanError, PlannedDispatch, Request, assign_slots, lower_bound, plan};
use vnet_engine::tensor::layout::ParameterLayout;
use vnet_engine::tensor::{TensorSpec, ValueId};
use vnet_engine::train::{Forecast, MemoryMode, Preset, Trainer};

fn lifetimes() -> impl Strategy<Value = Vec<Lifetime>> {
    let one = (0usize..60, 0usize..25, 1u64..1000).prop_map(|(first, length, bytes)| Lifetime {
        first,
        last: first + length,
        bytes,
    });
    prop::collection::vec(one, 1..80)
}

proptest! {
    #[test]
    fn live_values_share_no_slot_and_fit_it(lifetimes in lifetimes()) {
        let assignment = assign_slots(&lifetimes);
        for (i, a) in lifetimes.iter().enumerate() {
            prop_assert!(a.bytes <= assignment.bytes[assignment.slots[i]]);
            for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                let overlap = a.first <= b.last && b.first <= a.last;
                prop_assert!(!(overlap && assignment.slots[i] == assignment.slots[j]), "{a:?} and {b:?} share a slot");
            }
        }
        let total: u64 = assignment.bytes.iter().sum();
        prop_assert!(total >= lower_bound(&lifetimes));
        // The bound itself, by definition.
        let live = |t: usize| lifetimes.iter().filter(|l| l.first <= t && t <= l.last).map(|l| l.bytes).sum::<u64>();
        prop_assert_eq!(lower_bound(&lifetimes), (0..90).map(live).max().unwrap_or(0));
    }
}

fn check(plan: &Plan, target: &Target) {
    for dispatch in plan.programs.iter().flat_map(|p| &p.dispatches) {
        for (i, (window, access)) in dispatch.bindings.iter().enumerate() {
            assert!(window.bytes <= target.limits.max_binding_bytes);
            assert!(window.offset.is_multiple_of(256));
            assert!(window.offset + window.bytes <= plan.buffers[window.buffer].bytes);
            for (other, before) in dispatch.bindings[..i].iter().filter(|(other, _)| other.buffer == window.buffer) {
                // wgpu knows one state of a buffer within a dispatch; writes may share it where they do not overlap.
                let apart = other.offset + other.bytes <= window.offset || window.offset + window.bytes <= other.offset;
                let legal = access == before && (*access == Access::Read || apart);
                assert!(legal, "{:?} binds buffer {} twice", plan.kernels[dispatch.kernel], window.buffer);
            }
        }
        assert!(dispatch.bindings.len() <= target.limits.max_storage_buffers as usize);
        assert!(dispatch.grid.iter().all(|g| (1..=target.limits.max_workgroups).contains(g)));
    }
    assert!(plan.buffers.iter().all(|b| b.bytes <= target.limits.max_buffer_bytes));
}

/// llvmpipe's workgroups, with the buffers and the tuning of a large GPU.
fn large_gpu() -> Target {
    as_gpu(&llvmpipe()).with_max_binding_bytes((1 << 31) - 4)
}

#[test]
fn what_llvmpipe_offers_is_what_the_tests_plan_for() {
    // Subgroups follow the width of the processor's registers.
    let is_llvmpipe = |name: &str| name.starts_with("llvmpipe") && name.contains("256 bits");
    let Some(gpu) = GPU.as_ref().filter(|gpu| is_llvmpipe(&gpu.description().name)) else { return };
    let mut target = gpu.target().clone();
    // 32 in Mesa 22, 48 in Mesa 25.
    target.limits.max_storage_buffers = target.limits.max_storage_buffers.min(32);
    assert_eq!(target, llvmpipe());
}

#[test]
fn presets_plan_legally_on_every_kind_of_device() {
    let limits = DeviceLimits { max_buffer_bytes: 1 << 30, ..DeviceLimits::WEBGPU };
    for target in [Target { limits, ..Target::webgpu() }, llvmpipe(), large_gpu()] {
        for (preset, patch) in
            [(Preset::Tiny, [40, 56, 40]), (Preset::Small, [64, 64, 24]), (Preset::Paper, [64, 128, 128])]
        {
            for classes in [2, 3] {
                let config = preset.config();
                let network = config.network(1, classes);
                let (_, plan, _) =
                    Trainer::plan_for(&network, &config.trainer_settings(), patch, &target).expect("the preset fits");
                check(&plan, &target);
            }
        }
    }
}

#[test]
fn the_papers_network_stays_within_ten_percent_of_the_lower_bound() {
    for batch in [1, 2] {
        let mut config = Preset::Paper.config();
        config.training.batch = batch;
        let target = llvmpipe().with_max_binding_bytes(1 << 31);
        let (_, plan, passes) =
            Trainer::plan_for(&config.network(1, 2), &config.trainer_settings(), [64, 128, 128], &target)
                .expect("it fits");
        assert_eq!(passes, 1);
        let m = plan.memory;
        assert!(m.slots_lower_bound <= m.slots && m.slots as f64 <= 1.1 * m.slots_lower_bound as f64, "{m:?}");
        assert!(m.slots * 2 < m.values_unshared, "{m:?}");
    }
}

#[test]
fn recomputation_takes_less_memory_and_plans_legally() {
    for (name, target) in [("llvmpipe", llvmpipe()), ("gpu", large_gpu())] {
        for (preset, patch, batch) in [
            (Preset::Tiny, [40, 56, 40], 1),
            (Preset::Small, [64, 64, 24], 2),
            (Preset::Paper, [64, 128, 128], 1),
            (Preset::Paper, [64, 128, 128], 2),
        ] {
            let mut config = preset.config();
            config.training.batch = batch;
            let network = config.network(1, 2);
            let mut forecasts = Vec::new();
            for memory in [MemoryMode::Normal, MemoryMode::Low] {
                config.training.memory = memory;
                let (_, plan, _) =
                    Trainer::plan_for(&network, &config.trainer_settings(), patch, &target).expect("the preset fits");
                check(&plan, &target);
                forecasts.push(
                    Forecast::new(&network, &config.trainer_settings(), patch, &target).expect("the preset fits"),
                );
            }
            let [normal, low] = forecasts[..] else { unreachable!("two modes") };
            println!("{name} {preset:?} batch {batch}: {normal:?}\n{low:?}");
            assert_eq!(normal.recomputed, 0.0);
            assert!(low.recomputed > 0.0 && low.recomputed <= 1.0);
            assert_eq!(low.step.arenas, normal.step.arenas);
            assert!(low.step.slots < normal.step.slots, "{name} {preset:?}: {low:?} {normal:?}");
            if preset == Preset::Paper {
                // 26 % and 27 % when this was written (docs/reliability.md).
                assert!(low.step.slots * 5 <= normal.step.slots * 4, "{name} batch {batch}: {low:?} {normal:?}");
            }
        }
    }
}

#[test]
fn a_batch_that_exceeds_the_binding_limit_is_accumulated() {
    // 32 channels at 128 x 128 x 64 are exactly 128 MiB.
    let config = Preset::Paper.config();
    let (_, _, passes) =
        Trainer::plan_for(&config.network(1, 2), &config.trainer_settings(), [64, 128, 128], &llvmpipe())
            .expect("it fits");
    assert_eq!((config.training.batch, passes), (2, 2));
}

/// 104 classes at 128 x 128 x 64: logits, probabilities and their gradients are 416 MiB each.
#[test]
fn classes_beyond_the_binding_limit_are_bound_in_pieces() {
    let network = Preset::Tiny.config().network(1, 104);
    for target in [llvmpipe(), as_gpu(&llvmpipe()), Target::webgpu()] {
        let limits = DeviceLimits { max_buffer_bytes: 1 << 31, ..target.limits };
        let target = Target { limits, ..target };
        let settings = Preset::Tiny.config().trainer_settings();
        let (_, plan, passes) = Trainer::plan_for(&network, &settings, [64, 128, 128], &target).expect("it fits");
        assert_eq!(passes, 1);
        check(&plan, &target);
        let step = |op: &str| plan.programs[0].steps.iter().position(|s| s.op == op).expect("a step");
        let pieces = |op: &str| plan.programs[0].dispatches.iter().filter(|d| d.step == step(op)).count();
        // 3.25 bindings of 128 MiB.
        assert_eq!([pieces("softmax"), pieces("softmax_grad")], [4, 4]);
        let whole = plan.programs[0].dispatches.iter().flat_map(|d| &d.bindings).map(|(window, _)| window.bytes).max();
        assert!(whole <= Some(128 << 20));
        let (_, plan) = Predictor::plan_for(&network, 1, [64, 128, 128], &target).expect("it fits");
        check(&plan, &target);
    }
}

#[test]
fn a_value_that_exceeds_the_binding_limit_is_named() {
    let graph = InferenceGraph::new(&Network::new(1, 2, VNet::paper()), 1, [80, 128, 128]).expect("divisible extents");
    let error = plan(&Request::inference(&graph.graph, &[graph.probabilities]), &llvmpipe()).expect_err("too large");
    let text = error.to_string();
    assert!(matches!(error, PlanError::Binding { .. }));
    assert!(text.contains("decoder.0") && text.contains("160.0 MiB") && text.contains("128.0 MiB"), "{text}");
}

/// A network whose names are not V-Net's: its stages are those that it names, and its slopes and logits start as it says.
#[test]
fn stages_and_initial_values_are_those_that_a_network_marks() {
    let mut graph = Graph::new();
    let image = graph.input("image", TensorSpec::f32([1, 4, 6, 8, 2]));
    let labels = graph.input("labels", TensorSpec::u32([1, 4, 6, 8]));
    let mut x = image;
    for stage in ["stem", "body"] {
        graph.set_stage(Some(stage));
        let channels = graph.spec(x).channels();
        let weight =
            graph.parameter(&format!("{stage}/w"), &[3, 3, 3, channels, 3], ParameterLayout::Convolution, true);
        let bias = graph.parameter(&format!("{stage}/b"), &[3], ParameterLayout::Vector, false);
        let slope = graph.parameter(&format!("{stage}/a"), &[3], ParameterLayout::Vector, false);
        graph.set_initial(slope, |_| Initial::Constant(0.125));
        x = graph.add(Conv3d::same(3), &[x, weight, bias]).expect("the shapes belong together");
        x = graph.add(Prelu, &[x, slope]).expect("one slope per channel");
    }
    graph.set_stage(None);
    let weight = graph.parameter("out", &[1, 1, 1, 3, 2], ParameterLayout::Convolution, true);
    graph.set_initial(weight, Initial::of_head);
    let logits = graph.add(Conv3d::same(1), &[x, weight]).expect("the shapes belong together");
    let inputs = LossInputs::new(logits, labels, Activation::Softmax);
    let loss = CrossEntropy { weighted: false }.append(&mut graph, inputs).expect("the shapes belong together");
    let forward = graph.nodes().len();
    let parameters: Vec<ValueId> = graph.parameters().iter().map(|p| p.value).collect();
    let gradients = gradients(&mut graph, loss, &parameters, 1.0, GRADIENT_OPS).expect("gradients");
    let gradients = gradients.into_iter().flatten().collect();
    let initial = |position| initialise(&graph, position, 1, 0.0);
    assert_eq!(initial(1), [0.0; 3]);
    assert_eq!(initial(2), [0.125; 3]);
    assert_eq!(initial(6), [0.0; 6], "a gain of 0");
    assert!(initial(0).iter().all(|w| *w != 0.0));
    let t = TrainingGraph { graph, image, labels, logits, dropout: None, loss, gradients, layers: Vec::new(), forward };
    assert_eq!(t.stages(), ["stem", "body"]);
    let backward = &t.graph.nodes()[forward..];
    assert!(["stem", "body"].iter().all(|s| backward.iter().any(|n| n.stage.as_deref() == Some(s))));
    assert_eq!(t.recomputing(&[Kept::All; 2]).recomputed_share(), 0.0);
    assert!(t.recomputing(&[Kept::Boundaries; 2]).recomputed_share() > 0.0);
}

#[test]
fn gradients_that_do_not_fit_the_parameters_are_named() {
    let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
    let t = TrainingGraph::new(&network, &Dice::default(), 1, [4, 4, 4], 1.0).expect("a small network");
    let outputs = [t.loss];
    let refused = |gradients: &[ValueId]| {
        let request = Request { gradients, ..Request::inference(&t.graph, &outputs) };
        plan(&request, &llvmpipe()).expect_err("not the gradients of the parameters").to_string()
    };
    let parameters = t.gradients.len();
    let fewer = format!("a request has {} gradients, expected one for each of {parameters} parameters", parameters - 1);
    assert_eq!(refused(&t.gradients[1..]), fewer);
    let mut swapped = t.gradients.clone();
    swapped.swap(0, 1);
    let first = "the gradient of encoder.0.conv.0.weight is f32[2], expected f32[5, 5, 5, 1, 2]";
    assert_eq!(refused(&swapped), first);
}

/// Each PReLU's gradient pass sums over channels for the biases before it; only the head's bias has no PReLU after it.
#[test]
fn sums_over_channels_take_no_pass_of_their_own_before_a_prelu() {
    let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 2], decoder: vec![2] });
    let t = TrainingGraph::new(&network, &Dice::default(), 1, [4, 4, 4], 1.0).expect("a small network");
    let outputs = [t.loss];
    let request = Request { gradients: &t.gradients, ..Request::inference(&t.graph, &outputs) };
    let plan = plan(&request, &llvmpipe()).expect("it fits");
    let sums = plan.programs[0].steps.iter().filter(|s| s.op == "channel_sum");
    assert_eq!(sums.map(|s| s.name.as_str()).collect::<Vec<_>>(), ["head.grad"]);
}

#[test]
fn nodes_that_nothing_depends_on_are_not_run() {
    let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
    let t = TrainingGraph::new(&network, &Dice::default(), 1, [4, 4, 4], 1.0).expect("a small network");
    let forward = plan(&Request::inference(&t.graph, &[t.logits]), &llvmpipe()).expect("it fits");
    let all = plan(&Request { gradients: &t.gradients, ..Request::inference(&t.graph, &[t.loss]) }, &llvmpipe());
    let all = all.expect("it fits");
    assert!(forward.programs[0].steps.iter().all(|s| !s.name.ends_with(".grad")));
    assert!(forward.programs[0].steps.len() < all.programs[0].steps.len() / 2);
}

/// The paper's network with all that a step does, on kernels of which each is a dispatch of up to 537 GFLOP.
#[test]
fn no_submission_exceeds_the_bound() {
    let config = Preset::Paper.config();
    let network = config.network(1, 2);
    for base in [large_gpu(), llvmpipe(), Target::webgpu().with_max_binding_bytes(1 << 31)] {
        let mut base = base;
        base.limits.max_buffer_bytes = 1 << 31;
        for algorithms in [Algorithms::Naive, Algorithms::Direct, Algorithms::Winograd, Algorithms::Auto] {
            let target = base.with_algorithms(algorithms);
            let bound = target.tuning.submission_flops;
            let (_, plan, _) =
                Trainer::plan_for(&network, &config.trainer_settings(), [64, 128, 128], &target).expect("it fits");
            for program in &plan.programs {
                let work = |submission: &[PlannedDispatch]| submission.iter().map(|d| d.work).sum::<u64>();
                let most = program.submissions().map(work).max().expect("a submission");
                println!("{algorithms} {}: {} submissions", program.name, program.submissions().count());
                assert!(most <= bound, "{algorithms} {}: {:.1} GFLOP", program.name, most as f64 / 1e9);
                let submissions: Vec<_> = program.submissions().collect();
                for pair in submissions.windows(2) {
                    assert!(work(pair[0]) + pair[1][0].work > bound, "{algorithms}: a submission that ends too early");
                }
                let dispatches: usize = program.submissions().map(<[_]>::len).sum();
                assert_eq!(dispatches, program.dispatches.len());
            }
            assert_direct_work_is_stated(&plan, algorithms);
            check(&plan, &target);
        }
    }
}

/// Every convolution without Winograd's transforms states the flops of its definition at least: nothing is hidden in dispatches
/// that count by what they bind.
fn assert_direct_work_is_stated(plan: &Plan, algorithms: Algorithms) {
    let program = &plan.programs[0];
    let mut convolutions = 0;
    for (i, step) in program.steps.iter().enumerate().filter(|(_, step)| step.op.starts_with("conv3d")) {
        let own = program.dispatches.iter().filter(|d| d.step == i);
        if own.clone().any(|d| plan.kernels[d.kernel].shader.starts_with("winograd")) {
            continue;
        }
        let work: u64 = own.map(|d| d.work).sum();
        assert!(work >= step.cost.flops, "{algorithms} {}: {work} of {}", step.name, step.cost.flops);
        convolutions += 1;
    }
    assert!(convolutions > 0);
}

/// A split dispatch does the work of the whole: the same workgroups, each once.
#[test]
fn parts_of_a_dispatch_cover_it_once_within_the_bound() {
    for max_workgroups in [65_535, 100] {
        let mut target = Target::webgpu();
        target.limits.max_workgroups = max_workgroups;
        target.tuning.submission_flops = 1000;
        let at = Lowering::new(&target, Vec::new(), Vec::new());
        for (units, flops) in
            [(1, 10), (7, 7000), (1000, 1_000_000), (9999, 1_000_001), (10_000, 12_345), (3, 1_000_000)]
        {
            let mut next = 0;
            for (range, share) in at.parts(units, flops) {
                assert_eq!(range.start, next);
                assert!(!range.is_empty() && (share <= 1000 || range.len() == 1), "{range:?}: {share}");
                let surplus = target.fold(range.len()).iter().map(|&g| g as usize).product::<usize>() - range.len();
                assert!(surplus == 0 || range.end == units, "{range:?} runs into the next");
                next = range.end;
            }
            assert_eq!(next, units);
        }
    }
}
