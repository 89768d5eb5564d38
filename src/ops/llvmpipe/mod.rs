//! Kernels for subgroups of eight: those of Mesa's llvmpipe, whose loads are slow and whose broadcasts are nearly free.
//!
//! Nothing else depends on them. Three lists name this folder, those of `ops::gemm`, `ops::conv3d::kernels` and its
//! `winograd::grad_weight`. They take these kernels where
//! [`Target::subgroup_kernels`](crate::kernel::Target::subgroup_kernels) says so. The shaders are in `shaders/llvmpipe`. Without both
//! folders and the lines that name them, llvmpipe runs what GPUs run.

mod gemm;
mod same_lanes;
mod strided_lanes;
mod window_lanes;
mod winograd;

pub(super) use gemm::SubgroupGemm;
pub(super) use winograd::SumsByRows;

use super::conv3d::kernels::Family;

/// The families of direct convolutions.
pub(super) const FAMILIES: &[&dyn Family] =
    &[&same_lanes::SameLanes, &strided_lanes::StridedLanes, &window_lanes::WindowLanes];

#[cfg(test)]
mod tests {
    use crate::kernel::{ConvolutionKernels, ConvolutionLayer, DeviceLimits, Target, Tuning};
    use crate::ops::conv3d::{choice, geometry::Geometry};

    #[test]
    fn few_voxels_do_not_repay_the_transform_of_many_weights() {
        let limits = DeviceLimits { subgroup: Some(8), int64: true, ..DeviceLimits::WEBGPU };
        let target = Target { limits, tuning: Tuning::CPU, ..Target::webgpu() };
        let family = |in_channels, out_channels, extents| {
            let layer = ConvolutionLayer::same_5([in_channels, out_channels], extents, 1);
            choice::family(&Geometry::of_layer(&layer), &target)
        };
        for (family, name) in [
            (family(32, 32, [32, 64, 64]), "Winograd"),
            (family(256, 256, [4, 8, 8]), "Winograd"),
            (family(256, 256, [1, 2, 2]), "Same"),
            (family(1, 16, [64, 128, 128]), "SameLanes"),
        ] {
            assert_eq!(format!("{family:?}"), name);
            assert_eq!(family.kind() == ConvolutionKernels::Winograd, name == "Winograd");
        }
    }
}
