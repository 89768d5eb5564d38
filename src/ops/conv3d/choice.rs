//! Which kernels a convolution runs on: by the cost model, by measurement, or as the user says.

use super::geometry::Geometry;
use super::winograd;
use crate::kernel::{Algorithms, ConvolutionKernels, ConvolutionLayer, MeasuredChoice, Target};
use crate::ops::matmul::has_lane_tiles;

/// A family of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// By definition, any geometry.
    Naive,
    /// The direct 5x5x5 convolution in tiles.
    Same5,
    /// The same for the subgroups of llvmpipe.
    Same5Lanes,
    /// Winograd's 5x5x5 convolution.
    Winograd,
    /// Windows that do not overlap.
    Window,
}

/// The family for a convolution and both its gradients.
pub(super) fn family(g: &Geometry, target: &Target) -> Family {
    if target.algorithms == Algorithms::Naive {
        return Family::Naive;
    }
    if g.windows_tile() {
        return Family::Window;
    }
    if !g.is_same_5() {
        return Family::Naive;
    }
    match choose(g, target).0 {
        ConvolutionKernels::Winograd => Family::Winograd,
        ConvolutionKernels::Direct if has_wide_rows(g, target) => Family::Same5Lanes,
        ConvolutionKernels::Direct => Family::Same5,
    }
}

/// Why a 5x5x5 convolution runs on its kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// [`Target::algorithms`] says so.
    Asked,
    /// Winograd's buffers exceed what the device can bind.
    OnlyDirect,
    /// The cost model says so.
    CostModel,
    /// [`Target::measured`] says so.
    Measured(MeasuredChoice),
}

/// The kernels of a 5x5x5 convolution on a target, unless they are the naive ones, and why.
pub fn convolution_kernels(layer: &ConvolutionLayer, target: &Target) -> (ConvolutionKernels, Reason) {
    let &ConvolutionLayer { in_channels, out_channels, extents, batch } = layer;
    let geometry = Geometry {
        batch,
        fine: extents,
        coarse: extents,
        kernel: [5; 3],
        stride: [1; 3],
        padding: [2; 3],
        fine_channels: in_channels,
        coarse_channels: out_channels,
    };
    choose(&geometry, target)
}

fn choose(g: &Geometry, target: &Target) -> (ConvolutionKernels, Reason) {
    use ConvolutionKernels::{Direct, Winograd};
    if matches!(target.algorithms, Algorithms::Naive | Algorithms::Direct) {
        return (Direct, Reason::Asked);
    }
    if !winograd::fits(g, target) {
        return (Direct, Reason::OnlyDirect);
    }
    if target.algorithms == Algorithms::Winograd {
        return (Winograd, Reason::Asked);
    }
    if let Some(choice) = measured(g, target) {
        return (choice.kernels, Reason::Measured(choice));
    }
    (if winograd_is_faster(g, target) { Winograd } else { Direct }, Reason::CostModel)
}

/// What the table says of a convolution that keeps the extents.
fn measured(g: &Geometry, target: &Target) -> Option<MeasuredChoice> {
    let table = target.measured.as_ref().filter(|_| target.algorithms == Algorithms::Measured)?;
    let (in_channels, out_channels) = (g.fine_channels, g.coarse_channels);
    let layer = ConvolutionLayer { in_channels, out_channels, extents: g.fine, batch: g.batch };
    table.convolutions.get(&layer).copied()
}

/// What work costs on a kind of device, in nanoseconds or any other unit.
struct Costs {
    /// A flop of the direct kernel.
    direct: f64,
    /// A flop of the direct kernel for subgroups of eight.
    direct_lanes: f64,
    /// A flop of the matrix products between the transforms.
    product: f64,
    /// A frequency of the input, of the output or of a weight: written, read, and transformed.
    frequency: f64,
}

/// llvmpipe on two cores, measured (docs/performance.md): 17 and 25 GFLOP/s direct, 33 GFLOP/s products, and 22 ns to read
/// or write eight frequencies on one core.
const SOFTWARE: Costs = Costs { direct: 0.06, direct_lanes: 0.04, product: 0.03, frequency: 1.4 };

/// A GPU, relative to a direct flop: products run a little faster, and a frequency is eight bytes of traffic at a few flops
/// per byte. Estimated, not measured.
const GPU: Costs = Costs { direct: 1.0, direct_lanes: 1.0, product: 0.7, frequency: 40.0 };

/// The cost model for forward and both gradients, which differ little in either family.
fn winograd_is_faster(g: &Geometry, target: &Target) -> bool {
    let costs = if target.software { SOFTWARE } else { GPU };
    let work = winograd::work(g);
    let frequencies = (work.activation_frequencies + work.weight_frequencies) as f64;
    let winograd = costs.product * work.product_flops as f64 + costs.frequency * frequencies;
    let direct = if has_wide_rows(g, target) { costs.direct_lanes } else { costs.direct };
    winograd < direct * direct_flops(g) as f64
}

/// Whether rows are wide enough to repay the loading of the taps for every row of voxels.
fn has_wide_rows(g: &Geometry, target: &Target) -> bool {
    has_lane_tiles(target) && g.fine[2] >= 32
}

/// Flops of the direct kernel, which works on eight voxels of a row and eight output channels at a time.
fn direct_flops(g: &Geometry) -> u64 {
    let rows = (g.batch * g.fine[0] * g.fine[1] * g.fine[2].next_multiple_of(8)) as u64;
    2 * rows * (g.taps() * g.fine_channels * g.coarse_channels.next_multiple_of(8)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::KernelTable;
    use crate::tensor::TensorSpec;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    fn layer(input: [usize; 5], cout: usize) -> Geometry {
        let weight = TensorSpec::f32([5, 5, 5, input[4], cout]);
        Geometry::of_conv3d("test", [1; 3], [2; 3], &TensorSpec::f32(input), &weight).expect("a convolution")
    }

    #[test]
    fn few_voxels_do_not_repay_the_transform_of_many_weights() {
        let target = Target { software: true, subgroup: Some(8), int64: true, ..Target::webgpu() };
        assert_eq!(family(&layer([1, 32, 64, 64, 32], 32), &target), Family::Winograd);
        assert_eq!(family(&layer([1, 4, 8, 8, 256], 256), &target), Family::Winograd);
        assert_eq!(family(&layer([1, 1, 2, 2, 256], 256), &target), Family::Same5);
        assert_eq!(family(&layer([1, 64, 128, 128, 1], 16), &target), Family::Same5Lanes);
    }

    #[test]
    fn a_table_goes_before_the_cost_model_and_the_limits_before_the_table() {
        let named = ConvolutionLayer { in_channels: 32, out_channels: 32, extents: [32, 64, 64], batch: 1 };
        let (direct, winograd) = (Duration::from_millis(1), Duration::from_millis(2));
        let of = |algorithms, kernels| {
            let convolutions = BTreeMap::from([(named, MeasuredChoice { kernels, direct, winograd })]);
            let measured = Some(Arc::new(KernelTable { convolutions, ..KernelTable::default() }));
            Target { software: true, algorithms, measured, ..Target::webgpu() }
        };
        let against = of(Algorithms::Measured, ConvolutionKernels::Direct);
        assert_eq!(family(&layer([1, 32, 64, 64, 32], 32), &against), Family::Same5);
        for other in [[2, 32, 64, 64, 32], [1, 64, 32, 64, 32]] {
            assert_eq!(family(&layer(other, 32), &against), Family::Winograd, "{other:?} is not in the table");
        }
        let ignored = of(Algorithms::Auto, ConvolutionKernels::Direct);
        assert_eq!(convolution_kernels(&named, &ignored), (ConvolutionKernels::Winograd, Reason::CostModel));
        let narrow = Target { max_binding_bytes: 1 << 20, ..of(Algorithms::Measured, ConvolutionKernels::Winograd) };
        assert_eq!(convolution_kernels(&named, &narrow), (ConvolutionKernels::Direct, Reason::OnlyDirect));
    }

    #[test]
    fn what_cannot_be_bound_is_direct() {
        let target = Target { max_binding_bytes: 1 << 20, ..Target::webgpu() };
        assert_eq!(family(&layer([1, 32, 64, 64, 32], 32), &target), Family::Same5);
    }
}
