//! Which kernels a convolution runs on.

use super::geometry::Geometry;
use super::winograd;
use crate::kernel::{Algorithms, Target};
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
    let algorithms = target.algorithms;
    if algorithms == Algorithms::Naive {
        return Family::Naive;
    }
    if g.windows_tile() {
        return Family::Window;
    }
    if !g.is_same_5() {
        return Family::Naive;
    }
    let winograd = winograd::fits(g, target)
        && match algorithms {
            Algorithms::Winograd => true,
            Algorithms::Auto => winograd_is_faster(g, target),
            _ => false,
        };
    match winograd {
        true => Family::Winograd,
        false if has_wide_rows(g, target) => Family::Same5Lanes,
        false => Family::Same5,
    }
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
    use crate::tensor::TensorSpec;

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
    fn what_cannot_be_bound_is_direct() {
        let target = Target { max_binding_bytes: 1 << 20, ..Target::webgpu() };
        assert_eq!(family(&layer([1, 32, 64, 64, 32], 32), &target), Family::Same5);
    }
}
