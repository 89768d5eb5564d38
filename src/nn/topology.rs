//! Kernels and strides of a network's levels from the spacing and the extents of its input.
//!
//! The rule is that of nnU-Net's experiment planner (Isensee et al. 2021, *nnU-Net: a self-configuring method for deep
//! learning-based biomedical image segmentation*, Methods, "Architecture template"; `get_pool_and_conv_props` of version 2): an
//! axis is halved from one level to the next as long as it is long enough and no other axis has less than half its spacing. A
//! kernel spans an axis from the level on where its spacing is less than twice the smallest. [`crate::configure`] plans by it.

/// Levels of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Extents of the kernels (z, y, x), 1 or 3, level 0 first.
    pub kernels: Vec<[usize; 3]>,
    /// Strides (z, y, x) from the level above, 1 or 2; that of level 0 is 1.
    pub strides: Vec<[usize; 3]>,
    /// Extents of the input (z, y, x), rounded up to what the strides divide.
    pub patch: [usize; 3],
}

/// The levels for images of `spacing` in mm and inputs of `patch` voxels, both (z, y, x). An axis has `min_feature_map` voxels
/// at least on the last level, and is halved `max_pool` times at most. nnU-Net has 4 voxels and no limit.
///
/// ```
/// use vnet_engine::nn::topology::pool_and_kernels;
///
/// let thick_slices = pool_and_kernels([5.0, 1.5, 1.5], [16, 160, 160], 4, usize::MAX);
/// assert_eq!(thick_slices.strides[..3], [[1, 1, 1], [1, 2, 2], [2, 2, 2]]);
/// assert_eq!(thick_slices.kernels[..3], [[1, 3, 3], [3, 3, 3], [3, 3, 3]]);
/// assert_eq!(thick_slices.patch, [16, 160, 160]);
/// ```
pub fn pool_and_kernels(spacing: [f64; 3], patch: [usize; 3], min_feature_map: usize, max_pool: usize) -> Topology {
    let (mut spacing, mut extents, mut pools) = (spacing, patch, [0usize; 3]);
    let min_feature_map = min_feature_map.max(1);
    let (mut kernel, mut kernels, mut strides) = ([1; 3], Vec::new(), vec![[1; 3]]);
    loop {
        let is_long = |axis: usize| extents[axis] >= 2 * min_feature_map;
        let finest = (0..3).filter(|&axis| is_long(axis)).map(|axis| spacing[axis]).fold(f64::INFINITY, f64::min);
        let halved: [bool; 3] =
            std::array::from_fn(|axis| is_long(axis) && spacing[axis] / finest < 2.0 && pools[axis] < max_pool);
        let count = halved.iter().filter(|&&halved| halved).count();
        // A single axis is not worth a level if it ends at once.
        let is_short = |axis: usize| halved[axis] && extents[axis] < 3 * min_feature_map;
        if count == 0 || (count == 1 && (0..3).any(is_short)) {
            break;
        }
        let smallest = spacing.into_iter().fold(f64::INFINITY, f64::min);
        for axis in 0..3 {
            if spacing[axis] / smallest < 2.0 {
                kernel[axis] = 3;
            }
        }
        kernels.push(kernel);
        strides.push(halved.map(|halved| if halved { 2 } else { 1 }));
        for axis in (0..3).filter(|&axis| halved[axis]) {
            pools[axis] += 1;
            spacing[axis] *= 2.0;
            extents[axis] = extents[axis].div_ceil(2);
        }
    }
    kernels.push([3; 3]);
    let patch = std::array::from_fn(|axis| patch[axis].next_multiple_of(1 << pools[axis]));
    Topology { kernels, strides, patch }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spacing, patch, least extents, most halvings; strides and kernels as three digits, and the patch after rounding.
    type Case = ([f64; 3], [usize; 3], usize, usize, &'static [u16], &'static [u16], [usize; 3]);

    /// What `get_pool_and_conv_props` of nnunetv2 2.8.1 returns.
    const CASES: [Case; 9] = [
        ([1.0; 3], [128; 3], 4, 999, &[111, 222, 222, 222, 222, 222], &[333; 6], [128; 3]),
        (
            [3.6, 0.62, 0.62],
            [20, 320, 256],
            4,
            999,
            &[111, 122, 122, 222, 222, 122, 122],
            &[133, 133, 333, 333, 333, 333, 333],
            [20, 320, 256],
        ),
        (
            [5.0, 1.5, 1.5],
            [16, 160, 160],
            4,
            999,
            &[111, 122, 222, 222, 122, 122],
            &[133, 333, 333, 333, 333, 333],
            [16, 160, 160],
        ),
        ([1.0; 3], [40, 56, 40], 4, 999, &[111, 222, 222, 222], &[333; 4], [40, 56, 40]),
        (
            [2.0, 1.0, 1.0],
            [64, 192, 160],
            4,
            5,
            &[111, 122, 222, 222, 222, 222],
            &[133, 333, 333, 333, 333, 333],
            [64, 192, 160],
        ),
        ([3.0, 1.0, 1.0], [7, 33, 100], 4, 999, &[111, 122, 122, 122, 112], &[133, 333, 333, 333, 333], [7, 40, 112]),
        ([1.25, 1.25, 1.37], [15, 250, 24], 4, 3, &[111, 222, 222, 121], &[333; 4], [16, 256, 24]),
        ([2.5, 0.8, 0.9], [40, 96, 11], 4, 99, &[111, 122, 221, 221, 221], &[133, 333, 333, 333, 333], [40, 96, 12]),
        ([1.0; 3], [7; 3], 4, 9, &[111], &[333], [7; 3]),
    ];

    #[test]
    fn levels_are_those_of_nnunet() {
        let digits = |triples: &[[usize; 3]]| -> Vec<u16> {
            triples.iter().map(|[z, y, x]| u16::try_from(100 * z + 10 * y + x).expect("three digits")).collect()
        };
        for (spacing, patch, least, most, strides, kernels, rounded) in CASES {
            let found = pool_and_kernels(spacing, patch, least, most);
            let expected = (strides.to_vec(), kernels.to_vec(), rounded);
            let found = (digits(&found.strides), digits(&found.kernels), found.patch);
            assert_eq!(found, expected, "{spacing:?} {patch:?}");
        }
    }
}
