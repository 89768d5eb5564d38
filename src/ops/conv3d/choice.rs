//! Which kernels a convolution runs on: by the cost model, by measurement, or as the user says.

use super::geometry::Geometry;
use super::kernels::{FAMILIES, Family, Naive};
use crate::kernel::{Algorithms, ConvolutionKernels, ConvolutionLayer, MeasuredChoice, Target};

/// The family for a convolution and both its gradients.
pub(in crate::ops) fn family(g: &Geometry, target: &Target) -> &'static dyn Family {
    if target.policy.algorithms == Algorithms::Naive {
        return &Naive;
    }
    let kind = g.layer().map_or(ConvolutionKernels::Direct, |layer| convolution_kernels(&layer, target).0);
    cheapest(kind, g, target).expect("the naive family fits every convolution, Winograd's is chosen where it fits")
}

/// The family of a kind that costs least.
fn cheapest(kind: ConvolutionKernels, g: &Geometry, target: &Target) -> Option<&'static dyn Family> {
    let families = FAMILIES.iter().copied().flatten().copied();
    let fitting = families.filter(|family| family.kind() == kind && family.fits(g, target));
    fitting.min_by(|a, b| a.cost(g, target).total_cmp(&b.cost(g, target)))
}

/// Why a convolution runs on its kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// [`KernelPolicy::algorithms`](crate::kernel::KernelPolicy::algorithms) says so.
    Asked,
    /// Winograd's algorithm is not for this kernel and stride, or its buffers exceed what the device can bind.
    OnlyDirect,
    /// The cost model says so.
    CostModel,
    /// [`KernelPolicy::measured`](crate::kernel::KernelPolicy::measured) says so.
    Measured(MeasuredChoice),
}

/// The kernels of a convolution on a target, unless they are the naive ones, and why.
///
/// The cost model compares the forward pass; the gradients differ little from it in either kind.
pub fn convolution_kernels(layer: &ConvolutionLayer, target: &Target) -> (ConvolutionKernels, Reason) {
    use ConvolutionKernels::{Direct, Winograd};
    let algorithms = target.policy.algorithms;
    if matches!(algorithms, Algorithms::Naive | Algorithms::Direct) {
        return (Direct, Reason::Asked);
    }
    let geometry = Geometry::of_layer(layer);
    let cost = |kind| cheapest(kind, &geometry, target).map(|family| family.cost(&geometry, target));
    let Some(winograd) = cost(Winograd) else {
        return (Direct, Reason::OnlyDirect);
    };
    if algorithms == Algorithms::Winograd {
        return (Winograd, Reason::Asked);
    }
    if let Some(&choice) = target.policy.table().and_then(|table| table.convolutions.get(layer)) {
        return (choice.kernels, Reason::Measured(choice));
    }
    let direct = cost(Direct).expect("the naive family fits every convolution");
    (if winograd < direct { Winograd } else { Direct }, Reason::CostModel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{KernelPolicy, KernelTable, Tuning};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    fn layer([batch, d, h, w, in_channels]: [usize; 5], out_channels: usize) -> Geometry {
        Geometry::of_layer(&ConvolutionLayer::same_5([in_channels, out_channels], [d, h, w], batch))
    }

    fn name(g: &Geometry, target: &Target) -> String {
        format!("{:?}", family(g, target))
    }

    #[test]
    fn a_table_goes_before_the_cost_model_and_the_limits_before_the_table() {
        let named = ConvolutionLayer::same_5([32, 32], [32, 64, 64], 1);
        let (direct, winograd) = (Duration::from_millis(1), Duration::from_millis(2));
        let of = |algorithms, kernels| {
            let convolutions = BTreeMap::from([(named, MeasuredChoice { kernels, direct, winograd })]);
            let measured = Some(Arc::new(KernelTable { convolutions, ..KernelTable::default() }));
            Target { tuning: Tuning::CPU, policy: KernelPolicy { algorithms, measured }, ..Target::webgpu() }
        };
        let against = of(Algorithms::Measured, ConvolutionKernels::Direct);
        assert_eq!(name(&layer([1, 32, 64, 64, 32], 32), &against), "Same");
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
        assert_eq!(name(&layer([1, 32, 64, 64, 32], 32), &target), "Same");
    }
}
