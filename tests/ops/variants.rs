//! How each case is planned: algorithms, device, division of Winograd's convolution, parts of dispatches.

use crate::support::{GPU, WEBGPU, as_gpu, llvmpipe};
use crate::{CASES, alone};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use vnet_engine::gpu::Gpu;
use vnet_engine::kernel::{Algorithms, Target, Tuning};
use vnet_engine::ops::case::Case;
use vnet_engine::plan::{Plan, Request, plan};

/// How a case is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    pub name: &'static str,
    algorithms: Algorithms,
    plan: PlannedFor,
    /// How Winograd's convolution is divided.
    division: Division,
    /// The work of a submission is so small that dispatches are lowered in parts.
    pub in_parts: bool,
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

/// Of every convolution that Winograd's kernels compute, besides.
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
    pub fn of(case: &Case) -> Vec<Self> {
        let mut variants = VARIANTS.to_vec();
        if case.op.name().starts_with("conv") {
            variants.extend(PARTS);
        }
        if case.winograd.is_some() {
            variants.extend(WINOGRAD);
        }
        variants
    }

    pub fn is_winograd(&self) -> bool {
        self.algorithms == Algorithms::Winograd
    }

    pub fn gpu(&self) -> Option<&'static Arc<Gpu>> {
        match self.plan {
            PlannedFor::WebGpu => WEBGPU.as_ref(),
            PlannedFor::Adapter | PlannedFor::Gpu => GPU.as_ref(),
        }
    }

    /// The target on a device.
    pub fn target(&self, case: &Case, device: &Target) -> Target {
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
            // A fraction that leaves parts of several workgroups or gemms, and uneven ones.
            let parts = if self.is_winograd() { 300 } else { 7 };
            target.tuning.submission_flops = (flops(case) / parts).max(1);
        }
        target
    }

    /// Whether the plan is divided as the variant says: what it was made for cannot be missed.
    pub fn check_division(&self, case: &Case, plan: &Plan) {
        let count = |shader: &str| {
            let dispatches = &plan.programs[0].dispatches;
            dispatches.iter().filter(|d| plan.kernels[d.kernel].shader == shader).count()
        };
        let (chunks, planes) = (count("winograd_input_depth"), count("winograd_input_plane"));
        let slices = count("winograd_weight_plane") + count("winograd_grad_weight_plane");
        let Tiles { depth, .. } = Tiles::of(case);
        let rows = Tiles::of(case).rows();
        match self.division {
            Division::Whole => {
                assert!(chunks == 1 && slices == 1 && [1, depth].contains(&planes), "{chunks}, {planes}, {slices}")
            }
            Division::Rows => assert_eq!((chunks, planes, slices), (rows, depth * rows, 1)),
            Division::Halves => {
                assert!((rows.min(2)..=rows).contains(&chunks), "{chunks} chunks of {rows} rows");
                assert_eq!((planes, slices), (depth * chunks, 1));
            }
            Division::Slices => assert_eq!((chunks, planes, slices), (1, depth, depth)),
        }
    }
}

fn flops(case: &Case) -> u64 {
    case.op.flops(&case.inputs.iter().map(|(spec, _)| spec).collect::<Vec<_>>())
}

/// Tiles of a convolution by Winograd's kernels, and the most channels on either side.
struct Tiles {
    tiles: [usize; 4],
    channels: usize,
    /// Frequencies along z, and of a plane.
    depth: usize,
    plane: usize,
}

impl Tiles {
    fn of(case: &Case) -> Self {
        let [n, d, h, w, _] = case.inputs[0].0.shape[..] else { panic!("an activation [N, D, H, W, C]") };
        // Weights [kD, kH, kW, Cin, Cout], or the gradient of the output.
        let other = &case.inputs[1].0.shape;
        let weights = if case.op.name() == "conv3d_grad_weight" { &other[4..] } else { &other[3..] };
        let channels = weights.iter().copied().max().expect("channels").max(case.inputs[0].0.channels());
        let [z, y, x] = case.winograd.expect("a case of Winograd's kernels").transforms;
        let tiles = [n, d.div_ceil(z.outputs), h.div_ceil(y.outputs), w.div_ceil(x.outputs)];
        Self { tiles, channels, depth: z.frequencies(), plane: y.frequencies() * x.frequencies() }
    }

    fn rows(&self) -> usize {
        self.tiles[..3].iter().product()
    }

    /// Bytes of the frequencies of a plane of half of the tiles.
    fn half_bytes(&self) -> usize {
        let padded = if self.channels <= 8 { 8 } else { self.channels.next_multiple_of(16) };
        self.plane * 4 * padded * self.tiles.iter().product::<usize>().div_ceil(2)
    }
}

/// The target without a bound on the work of a dispatch.
pub fn in_one(target: &Target) -> Target {
    target.with_tuning(Tuning { submission_flops: u64::MAX, ..target.tuning })
}

/// The plans of the variants in parts, on a device with the kernels for subgroups of eight: each kernel that works on taps or
/// gemms is lowered in parts in some case.
pub fn every_kernel_of_a_convolution_is_lowered_in_parts() {
    let mut split = BTreeSet::new();
    let mut whole = BTreeSet::new();
    for case in CASES.iter().filter(|c| !c.benchmark_only) {
        for variant in Variant::of(case).into_iter().filter(|v| v.in_parts) {
            let (graph, _, outputs) = alone(case).expect("a case is well-formed");
            let target = variant.target(case, &llvmpipe());
            let plans =
                [&target, &in_one(&target)].map(|t| plan(&Request::inference(&graph, &outputs), t).expect("it fits"));
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
    // These move weights, activations and partial sums.
    assert_eq!(unsplit, ["conv3d_split_k_sum", "fill", "pad_crop", "weight_transpose"]);
}
