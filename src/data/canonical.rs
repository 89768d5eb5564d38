//! One orientation for training, and the way back.
//!
//! A network that saw the prostate only with z rising to the head fails on a volume stored the
//! other way round. Before training and segmenting, axes are swapped and mirrored so that x, y, z
//! rise most nearly to the Right, Anterior and Superior. No voxel is interpolated, so
//! [`Reorientation::invert`] restores the input exactly.

use serde::{Deserialize, Serialize};

use super::volume::{AXIS_ORDERS, AxisDirection, Grid};

/// A swap and mirroring of axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reorientation {
    /// Extents of the input, x, y, z.
    pub from: [usize; 3],
    /// For each axis of the input, the axis it becomes and whether it is mirrored.
    pub axes: [AxisDirection; 3],
}

impl Reorientation {
    /// To the orientation nearest to RAS.
    pub fn to_ras(grid: &Grid) -> Reorientation {
        Reorientation { from: grid.extents, axes: grid.closest_axes() }
    }

    /// Leaves everything where it is.
    pub fn identity(extents: [usize; 3]) -> Reorientation {
        let axes = std::array::from_fn(|world| AxisDirection { world, negative: false });
        Reorientation { from: extents, axes }
    }

    /// From one grid to another that holds the same points in another order: of the 48 swaps and mirrorings the one
    /// whose result is `to` ([`Grid::same_grid`]); none where the points are others. The identity is preferred, which
    /// matters only where an axis has one voxel.
    pub fn between(from: &Grid, to: &Grid) -> Option<Reorientation> {
        let mirrored = |bits: usize, order: [usize; 3]| Reorientation {
            from: from.extents,
            axes: std::array::from_fn(|axis| AxisDirection { world: order[axis], negative: bits >> axis & 1 == 1 }),
        };
        let all = AXIS_ORDERS.into_iter().flat_map(|order| (0..8).map(move |bits| mirrored(bits, order)));
        all.into_iter().find(|reorientation| reorientation.apply_to_grid(from).same_grid(to))
    }

    /// True if every voxel stays where it is.
    pub fn is_identity(&self) -> bool {
        *self == Reorientation::identity(self.from)
    }

    /// Extents of the result, x, y, z.
    pub fn to(&self) -> [usize; 3] {
        let mut extents = [0; 3];
        for (axis, direction) in self.axes.iter().enumerate() {
            extents[direction.world] = self.from[axis];
        }
        extents
    }

    /// Reorients voxels (x fastest) of the input's grid.
    pub fn apply<T: Copy>(&self, voxels: &[T]) -> Vec<T> {
        let mut out = Vec::with_capacity(voxels.len());
        self.for_each_source(|source| out.push(voxels[source]));
        out
    }

    /// As [`Reorientation::apply`], of voxels that are not needed any more: none is copied where all stay.
    pub fn applied<T: Copy>(&self, voxels: Vec<T>) -> Vec<T> {
        if self.is_identity() { voxels } else { self.apply(&voxels) }
    }

    /// Undoes [`Reorientation::apply`].
    pub fn invert<T: Copy>(&self, voxels: &[T]) -> Vec<T> {
        let mut out = voxels.to_vec();
        let mut next = voxels.iter();
        self.for_each_source(|source| {
            out[source] = *next.next().expect("a reorientation keeps the number of voxels");
        });
        out
    }

    /// The grid of the result: every voxel stays where it is in the patient.
    pub fn apply_to_grid(&self, grid: &Grid) -> Grid {
        let mut out = Grid { extents: self.to(), ..grid.clone() };
        for (axis, direction) in self.axes.iter().enumerate() {
            out.spacing[direction.world] = grid.spacing[axis];
            let last = self.from[axis] as f64 - 1.0;
            for row in 0..3 {
                let step = grid.affine[row][axis];
                out.affine[row][direction.world] = if direction.negative { -step } else { step };
                if direction.negative {
                    out.affine[row][3] += step * last;
                }
            }
        }
        out
    }

    /// Calls `each` with the linear index in the input of every voxel of the result, in the
    /// result's order.
    fn for_each_source(&self, mut each: impl FnMut(usize)) {
        let strides = [1, self.from[0], self.from[0] * self.from[1]];
        let extents = self.to();
        // Per axis of the result: where the walk through the input begins, and its stride.
        let mut walk = [(0usize, 0usize, false); 3];
        for (axis, direction) in self.axes.iter().enumerate() {
            walk[direction.world] = (self.from[axis], strides[axis], direction.negative);
        }
        let offset = |world: usize, index: usize| {
            let (extent, stride, negative) = walk[world];
            stride * if negative { extent - 1 - index } else { index }
        };
        for z in 0..extents[2] {
            for y in 0..extents[1] {
                let row = offset(2, z) + offset(1, y);
                for x in 0..extents[0] {
                    each(row + offset(0, x));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An affine whose voxel axes go along the given world axes, with a small tilt.
    fn grid(extents: [usize; 3], order: [usize; 3], negative: [bool; 3]) -> Grid {
        let spacing = [0.7, 1.9, 3.1];
        let mut affine = [[0.05, -0.03, 0.04, -12.0], [0.02, 0.06, -0.05, 31.5], [-0.04, 0.03, 0.02, 7.25]];
        for axis in 0..3 {
            affine[order[axis]][axis] = if negative[axis] { -spacing[axis] } else { spacing[axis] };
        }
        Grid { extents, spacing, affine }
    }

    fn any_grid() -> impl Strategy<Value = Grid> {
        let order = Just([0usize, 1, 2]).prop_shuffle();
        (proptest::array::uniform3(1usize..6), order, proptest::array::uniform3(any::<bool>()))
            .prop_map(|(extents, order, negative)| grid(extents, order, negative))
    }

    proptest! {
        #[test]
        fn inverse_is_exact_and_result_is_ras(grid in any_grid()) {
            let reorientation = Reorientation::to_ras(&grid);
            let voxels: Vec<u32> = (0..grid.voxel_count() as u32).map(|v| v * v + 3).collect();
            let canonical = reorientation.apply(&voxels);
            prop_assert_eq!(reorientation.invert(&canonical), voxels);
            prop_assert_eq!(reorientation.apply_to_grid(&grid).orientation_code(), "RAS");
        }

        #[test]
        fn voxels_stay_where_they_are_in_the_patient(grid in any_grid()) {
            let reorientation = Reorientation::to_ras(&grid);
            let canonical = reorientation.apply_to_grid(&grid);
            let index: Vec<usize> = (0..grid.voxel_count()).collect();
            for (here, there) in reorientation.apply(&index).into_iter().enumerate() {
                let place = |grid: &Grid, at| {
                    grid.to_world(crate::data::volume::position_of(at, grid.extents).map(|v| v as f64))
                };
                for (a, b) in place(&canonical, here).iter().zip(place(&grid, there)) {
                    prop_assert!((a - b).abs() < 1e-9, "{a} instead of {b}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_order_of_another_grid_is_found(
            grid in any_grid(),
            order in Just([0usize, 1, 2]).prop_shuffle(),
            negative in proptest::array::uniform3(any::<bool>()),
        ) {
            let axes = std::array::from_fn(|axis| AxisDirection { world: order[axis], negative: negative[axis] });
            let there = Reorientation { from: grid.extents, axes };
            let to = there.apply_to_grid(&grid);
            let index: Vec<usize> = (0..grid.voxel_count()).collect();
            let found = Reorientation::between(&grid, &to).expect("the same points");
            prop_assert_eq!(found.apply(&index), there.apply(&index));
            let mut shifted = to.clone();
            shifted.affine[1][3] += 0.25 * 0.7;
            prop_assert_eq!(Reorientation::between(&grid, &shifted), None);
        }
    }

    #[test]
    fn mirrored_and_swapped_by_hand() {
        // x of the file runs to the back, y to the left.
        let file = grid([2, 3, 1], [1, 0, 2], [true, true, false]);
        assert_eq!(file.orientation_code(), "PLS");
        let reorientation = Reorientation::to_ras(&file);
        assert_eq!(reorientation.to(), [3, 2, 1]);
        // (x, y): 0 = (0,0) 1 = (1,0) | 2 = (0,1) 3 = (1,1) | 4 = (0,2) 5 = (1,2)
        assert_eq!(reorientation.apply(&[0, 1, 2, 3, 4, 5]), [5, 3, 1, 4, 2, 0]);
    }
}
