//! Which kernels a convolution runs on: by the cost model, by measurement, or as the user says.

use super::geometry::Geometry;
use super::same5::tiled_flops;
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
    if target.policy.algorithms == Algorithms::Naive {
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
    /// [`KernelPolicy::algorithms`](crate::kernel::KernelPolicy::algorithms) says so.
    Asked,
    /// Winograd's buffers exceed what the device can bind.
    OnlyDirect,
    /// The cost model says so.
    CostModel,
    /// [`KernelPolicy::measured`](crate::kernel::KernelPolicy::measured) says so.
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
    if matches!(target.policy.algorithms, Algorithms::Naive | Algorithms::Direct) {
        return (Direct, Reason::Asked);
    }
    if !winograd::fits(g, target) {
        return (Direct, Reason::OnlyDirect);
    }
    if target.policy.algorithms == Algorithms::Winograd {
        return (Winograd, Reason::Asked);
    }
    if let Some(choice) = measured(g, target) {
        return (choice.kernels, Reason::Measured(choice));
    }
    (if winograd_is_faster(g, target) { Winograd } else { Direct }, Reason::CostModel)
}

/// What the table says of a convolution that keeps the extents.
fn measured(g: &Geometry, target: &Target) -> Option<MeasuredChoice> {
    let table = target.policy.table()?;
    let (in_channels, out_channels) = (g.fine_channels, g.coarse_channels);
    let layer = ConvolutionLayer { in_channels, out_channels, extents: g.fine, batch: g.batch };
    table.convolutions.get(&layer).copied()
}

/// The cost model for forward and both gradients, which differ little in either family.
fn winograd_is_faster(g: &Geometry, target: &Target) -> bool {
    let costs = target.tuning.costs;
    let work = winograd::work(g);
    let frequencies = (work.activation_frequencies + work.weight_frequencies) as f64;
    let winograd = costs.product * work.product_flops as f64 + costs.frequency * frequencies;
    let direct = if has_wide_rows(g, target) { costs.direct_lanes } else { costs.direct };
    winograd < direct * tiled_flops(g, g.fine_channels, g.coarse_channels) as f64
}

/// Whether rows are wide enough to repay the loading of the taps for every row of voxels.
fn has_wide_rows(g: &Geometry, target: &Target) -> bool {
    has_lane_tiles(target) && g.fine[2] >= 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{DeviceLimits, KernelPolicy, KernelTable, Tuning};
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
        let limits = DeviceLimits { subgroup: Some(8), int64: true, ..DeviceLimits::WEBGPU };
        let target = Target { limits, tuning: Tuning::CPU, ..Target::webgpu() };
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
            Target { tuning: Tuning::CPU, policy: KernelPolicy { algorithms, measured }, ..Target::webgpu() }
        };
        let against = of(Algorithms::Measured, ConvolutionKernels::Direct);
        assert_eq!(family(&layer([1, 32, 64, 64, 32], 32), &against), Family::Same5);
        for other in [[2, 32, 64, 64, 32], [1, 64, 32, 64, 32]] {
            assert_eq!(family(&layer(other, 32), &against), Family::Winograd, "{other:?} is not in the table");
        }
        let ignored = of(Algorithms::Auto, ConvolutionKernels::Direct);
        assert_eq!(convolution_kernels(&named, &ignored), (ConvolutionKernels::Winograd, Reason::CostModel));
        let narrow = of(Algorithms::Measured, ConvolutionKernels::Winograd).with_max_binding_bytes(1 << 20);
        assert_eq!(convolution_kernels(&named, &narrow), (ConvolutionKernels::Direct, Reason::OnlyDirect));
    }

    #[test]
    fn what_cannot_be_bound_is_direct() {
        let target = Target::webgpu().with_max_binding_bytes(1 << 20);
        assert_eq!(family(&layer([1, 32, 64, 64, 32], 32), &target), Family::Same5);
    }
}
