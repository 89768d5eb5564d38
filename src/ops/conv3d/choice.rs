//! Which kernels a convolution runs on: by the cost model, by measurement, or as the user says.

use super::family::{FAMILIES, Family, Kind};
use super::geometry::{Geometry, WeightOrder};
use super::naive::Naive;
use super::winograd;
use crate::kernel::{Algorithms, ConvolutionKernels, ConvolutionLayer, MeasuredChoice, Target};

/// The family for a convolution and both its gradients.
pub(in crate::ops) fn family(g: &Geometry, order: WeightOrder, target: &Target) -> &'static dyn Family {
    let kind = match (target.policy.algorithms, g.is_same_5()) {
        (Algorithms::Naive, _) => Kind::Naive,
        (_, true) => match choose(g, target).0 {
            ConvolutionKernels::Direct => Kind::Direct,
            ConvolutionKernels::Winograd => Kind::Winograd,
        },
        (_, false) => Kind::Direct,
    };
    // What no other kernel computes, the naive ones do.
    cheapest(kind, g, order, target).unwrap_or(&Naive)
}

/// The family of a kind that costs least.
fn cheapest(kind: Kind, g: &Geometry, order: WeightOrder, target: &Target) -> Option<&'static dyn Family> {
    let fitting = FAMILIES.into_iter().filter(|family| family.kind() == kind && family.fits(g, order, target));
    fitting.min_by(|a, b| a.cost(g, target).total_cmp(&b.cost(g, target)))
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
        input: extents,
        output: extents,
        kernel: [5; 3],
        stride: [1; 3],
        padding: [2; 3],
        in_channels: in_channels,
        out_channels: out_channels,
    };
    choose(&geometry, target)
}

fn choose(g: &Geometry, target: &Target) -> (ConvolutionKernels, Reason) {
    use ConvolutionKernels::{Direct, Winograd};
    if matches!(target.policy.algorithms, Algorithms::Naive | Algorithms::Direct) {
        return (Direct, Reason::Asked);
    }
    if !winograd::Winograd.fits(g, WeightOrder::InputFirst, target) {
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
    let (in_channels, out_channels) = (g.in_channels, g.out_channels);
    let layer = ConvolutionLayer { in_channels, out_channels, extents: g.input, batch: g.batch };
    table.convolutions.get(&layer).copied()
}

/// The cost model for forward and both gradients, which differ little in either family.
fn winograd_is_faster(g: &Geometry, target: &Target) -> bool {
    let cost = |kind| cheapest(kind, g, WeightOrder::InputFirst, target).map_or(f64::INFINITY, |f| f.cost(g, target));
    cost(Kind::Winograd) < cost(Kind::Direct)
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

    fn name(g: &Geometry, target: &Target) -> String {
        format!("{:?}", family(g, WeightOrder::InputFirst, target))
    }

    #[test]
    fn few_voxels_do_not_repay_the_transform_of_many_weights() {
        let limits = DeviceLimits { subgroup: Some(8), int64: true, ..DeviceLimits::WEBGPU };
        let target = Target { limits, tuning: Tuning::CPU, ..Target::webgpu() };
        assert_eq!(name(&layer([1, 32, 64, 64, 32], 32), &target), "Winograd");
        assert_eq!(name(&layer([1, 4, 8, 8, 256], 256), &target), "Winograd");
        assert_eq!(name(&layer([1, 1, 2, 2, 256], 256), &target), "Same5");
        assert_eq!(name(&layer([1, 64, 128, 128, 1], 16), &target), "Same5Lanes");
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
        assert_eq!(name(&layer([1, 32, 64, 64, 32], 32), &against), "Same5");
        for other in [[2, 32, 64, 64, 32], [1, 64, 32, 64, 32]] {
            assert_eq!(name(&layer(other, 32), &against), "Winograd", "{other:?} is not in the table");
        }
        let ignored = of(Algorithms::Auto, ConvolutionKernels::Direct);
        assert_eq!(convolution_kernels(&named, &ignored), (ConvolutionKernels::Winograd, Reason::CostModel));
        let narrow = of(Algorithms::Measured, ConvolutionKernels::Winograd).with_max_binding_bytes(1 << 20);
        assert_eq!(convolution_kernels(&named, &narrow), (ConvolutionKernels::Direct, Reason::OnlyDirect));
    }

    #[test]
    fn what_cannot_be_bound_is_direct() {
        let target = Target::webgpu().with_max_binding_bytes(1 << 20);
        assert_eq!(name(&layer([1, 32, 64, 64, 32], 32), &target), "Same5");
    }
}
