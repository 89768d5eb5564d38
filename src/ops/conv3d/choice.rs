//! Which kernels a convolution runs on.

use super::geometry::Geometry;
use super::winograd;
use crate::kernel::{Algorithms, Target};

/// A family of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// By definition, any geometry.
    Naive,
    /// The direct 5x5x5 convolution in tiles.
    Same5,
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
            Algorithms::Auto => winograd_is_faster(g),
            _ => false,
        };
    if winograd { Family::Winograd } else { Family::Same5 }
}

fn winograd_is_faster(_g: &Geometry) -> bool {
    true
}
