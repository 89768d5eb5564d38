//! From one spacing to another along the voxel axes, and back.
//!
//! The centre of the volume stays where it is, and the volume keeps its size to half a voxel: m = round(n s / s')
//! voxels of spacing s' for n of spacing s. Output voxel j lies at
//!
//! ```text
//! x = (j - (m - 1) / 2) · s' / s + (n - 1) / 2        in voxels of the input
//! ```
//!
//! Images are interpolated linearly, or by cubic B-splines that pass through the voxels (Unser 1999, IEEE Signal
//! Process Mag 16:22; SimpleITK's `sitkBSpline3`, scipy's order 3 with mode `mirror`). Labels become one image per
//! class, interpolated linearly; the largest wins, the lower class where two are equal. What is ignored counts as one more
//! class, the last. Beyond the outermost voxel
//! centres linear interpolation takes the outermost voxel and a B-spline mirrors the volume there. Nothing is smoothed
//! before voxels are made larger, as in nnU-Net and SimpleITK.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::volume::Grid;

/// An axis is left alone where the new spacing would shift no voxel by more than this part of one.
const UNCHANGED: f64 = 0.01;
/// Pole of the recursive filter from samples to cubic B-spline coefficients: sqrt(3) - 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// How images are interpolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Linear along each axis: never beyond the range of the voxels.
    #[default]
    Linear,
    /// Cubic B-splines: sharper, and may exceed the range of the voxels at edges.
    Cubic,
}

impl Interpolation {
    /// Whether it is the default.
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

/// The spacing of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetSpacing {
    /// Every volume's own.
    Native(Native),
    /// Along x, y, z in mm, after reorientation.
    Millimetres([f64; 3]),
}

/// The word `native`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Native {
    /// Every volume's own spacing.
    Native,
}

impl Default for TargetSpacing {
    fn default() -> Self {
        Self::Native(Native::Native)
    }
}

impl TargetSpacing {
    /// Whether a spacing is one that volumes are resampled to: 0.01 to 100 mm.
    pub fn is_sensible(&self) -> bool {
        match self {
            Self::Native(_) => true,
            Self::Millimetres(spacing) => spacing.iter().all(|mm| (0.01..=100.0).contains(mm)),
        }
    }

    /// Whether volumes keep their spacing.
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }
}

/// A change of spacing between two grids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Extents before, x, y, z.
    pub from: [usize; 3],
    /// Extents after, x, y, z.
    pub to: [usize; 3],
    /// Step between output voxels in voxels of the input; exactly 1 where an axis is left alone.
    step: [f64; 3],
}

impl Resampling {
    /// To a spacing; axes whose spacing it is already are left alone.
    pub fn new(grid: &Grid, target: &TargetSpacing) -> Resampling {
        let mut resampling = Resampling { from: grid.extents, to: grid.extents, step: [1.0; 3] };
        let TargetSpacing::Millimetres(spacing) = target else { return resampling };
        for (axis, spacing) in spacing.iter().enumerate() {
            let step = spacing / grid.spacing[axis];
            let extent = grid.extents[axis] as f64;
            if extent * (step - 1.0).abs() > 2.0 * UNCHANGED {
                resampling.to[axis] = ((extent / step).round() as usize).max(1);
                resampling.step[axis] = step;
            }
        }
        resampling
    }

    /// Whether nothing changes.
    pub fn is_identity(&self) -> bool {
        self.step == [1.0; 3]
    }

    /// The way back: exact for the grid, not for voxels.
    #[must_use]
    pub fn inverse(&self) -> Resampling {
        Resampling { from: self.to, to: self.from, step: self.step.map(|step| 1.0 / step) }
    }

    /// The grid of the result.
    pub fn apply_to_grid(&self, grid: &Grid) -> Grid {
        let mut out = Grid { extents: self.to, ..grid.clone() };
        let first = grid.to_world(std::array::from_fn(|axis| self.position(axis, 0)));
        for (row, values) in out.affine.iter_mut().enumerate() {
            values.iter_mut().zip(self.step).for_each(|(value, step)| *value *= step);
            values[3] = first[row];
        }
        for axis in 0..3 {
            out.spacing[axis] *= self.step[axis];
        }
        out
    }

    /// Position of output voxel `index` in voxels of the input.
    fn position(&self, axis: usize, index: usize) -> f64 {
        if self.step[axis] == 1.0 {
            return index as f64;
        }
        let middle = |extents: [usize; 3]| (extents[axis] as f64 - 1.0) / 2.0;
        (index as f64 - middle(self.to)) * self.step[axis] + middle(self.from)
    }

    /// Resamples intensities (x fastest).
    ///
    /// # Panics
    /// If the number of voxels is not the product of `from`.
    pub fn image(&self, voxels: Vec<f32>, interpolation: Interpolation) -> Vec<f32> {
        assert_eq!(voxels.len(), self.from.iter().product::<usize>(), "voxels of extents {:?}", self.from);
        self.between(voxels, interpolation, 0..self.from[2], 0..self.to[2])
    }

    /// The slices along z of the input that slices `to` of the result depend on when they are interpolated linearly.
    pub fn sources(&self, to: Range<usize>) -> Range<usize> {
        if self.step[2] == 1.0 || to.is_empty() {
            return to;
        }
        let taps = |index| Taps::new(self.position(2, index), self.from[2], Interpolation::Linear);
        taps(to.start).index[0]..taps(to.end - 1).index[1] + 1
    }

    /// Slices `to` along z of the result, interpolated linearly, from the slices `from` of the input, which must be all
    /// that they depend on ([`Self::sources`]): the same bits as in [`Self::image`] of the whole volume.
    ///
    /// # Panics
    /// If `voxels` are not those slices.
    pub fn slices(&self, voxels: Vec<f32>, from: Range<usize>, to: Range<usize>) -> Vec<f32> {
        assert_eq!(from, self.sources(to.clone()), "slices that {to:?} depend on");
        assert_eq!(voxels.len(), self.from[0] * self.from[1] * from.len(), "voxels of slices {from:?}");
        self.between(voxels, Interpolation::Linear, from, to)
    }

    fn between(
        &self,
        mut voxels: Vec<f32>,
        interpolation: Interpolation,
        from: Range<usize>,
        to: Range<usize>,
    ) -> Vec<f32> {
        let mut extents = [self.from[0], self.from[1], from.len()];
        for axis in (0..3).filter(|&axis| self.step[axis] != 1.0) {
            let lines = Lines { before: extents[..axis].iter().product(), extent: extents[axis] };
            let (first, outputs) = if axis == 2 { (from.start, to.clone()) } else { (0, 0..self.to[axis]) };
            let taps: Vec<Taps> = outputs
                .map(|index| Taps::new(self.position(axis, index), self.from[axis], interpolation).after(first))
                .collect();
            if interpolation == Interpolation::Cubic {
                lines.prefilter(&mut voxels);
            }
            voxels = lines.gather(&voxels, &taps);
            extents[axis] = taps.len();
        }
        voxels
    }

    /// Resamples labels (x fastest): one linear image per class, then the largest.
    ///
    /// # Panics
    /// If the number of voxels is not the product of `from`.
    pub fn labels(&self, labels: &[u16]) -> Vec<u16> {
        if self.is_identity() {
            return labels.to_vec();
        }
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        self.largest(&classes, |class| labels.iter().map(|&label| f32::from(u8::from(label == class))).collect())
    }

    /// Of the images of several classes, the class whose resampled image is largest at each voxel; the first one where
    /// two are equal.
    fn largest(&self, classes: &[u16], image_of: impl Fn(u16) -> Vec<f32>) -> Vec<u16> {
        let count = self.to.iter().product();
        let mut best = vec![f32::NEG_INFINITY; count];
        let mut winner = vec![0; count];
        for &class in classes {
            keep_larger(&self.image(image_of(class), Interpolation::Linear), class, &mut best, &mut winner);
        }
        winner
    }
}

/// Makes `class` the winner of the voxels where its image is larger than the best before.
pub(super) fn keep_larger(image: &[f32], class: u16, best: &mut [f32], winner: &mut [u16]) {
    for ((value, best), winner) in image.iter().zip(best).zip(winner) {
        if value > best {
            (*best, *winner) = (*value, class);
        }
    }
}

/// The input voxels that an output voxel depends on along one axis.
#[derive(Clone, Copy, Debug)]
struct Taps {
    index: [usize; 4],
    weight: [f32; 4],
    count: usize,
}

impl Taps {
    fn new(position: f64, extent: usize, interpolation: Interpolation) -> Taps {
        let last = extent - 1;
        match interpolation {
            Interpolation::Linear => {
                let position = position.clamp(0.0, last as f64);
                let lower = position.floor();
                let upper = (position - lower) as f32;
                let index = lower as usize;
                Taps { index: [index, (index + 1).min(last), 0, 0], weight: [1.0 - upper, upper, 0.0, 0.0], count: 2 }
            }
            Interpolation::Cubic => {
                let lower = position.floor();
                let t = position - lower;
                let (first, fourth) = ((1.0 - t).powi(3) / 6.0, t.powi(3) / 6.0);
                let second = (4.0 - 6.0 * t * t + 3.0 * t.powi(3)) / 6.0;
                let weight = [first, second, 1.0 - first - second - fourth, fourth].map(|weight| weight as f32);
                let index = std::array::from_fn(|tap| mirrored(lower as i64 - 1 + tap as i64, last));
                Taps { index, weight, count: 4 }
            }
        }
    }

    /// The same voxels, counted from voxel `first` of the axis.
    fn after(self, first: usize) -> Taps {
        Taps { index: self.index.map(|index| index.saturating_sub(first)), ..self }
    }
}

/// Index in the volume mirrored about the centres of its outermost voxels.
fn mirrored(index: i64, last: usize) -> usize {
    if last == 0 {
        return 0;
    }
    let period = 2 * last as i64;
    let folded = index.rem_euclid(period);
    usize::try_from(folded.min(period - folded)).expect("within the axis")
}

/// Lines of a volume along one axis.
struct Lines {
    /// Distance of neighbours along the axis: the product of the extents before it.
    before: usize,
    extent: usize,
}

impl Lines {
    /// Weighted sums of the taps for every output voxel of every line.
    fn gather(&self, voxels: &[f32], taps: &[Taps]) -> Vec<f32> {
        let blocks = voxels.len() / (self.before * self.extent);
        let mut out = vec![0.0; blocks * taps.len() * self.before];
        // Rows of `before` voxels; short ones are not worth a task of their own.
        let rows = out.par_chunks_mut(self.before).with_min_len((4096 / self.before).max(1));
        rows.enumerate().for_each(|(row, out)| {
            let (block, taps) = (row / taps.len(), &taps[row % taps.len()]);
            for tap in 0..taps.count {
                let start = (block * self.extent + taps.index[tap]) * self.before;
                let weight = taps.weight[tap];
                out.iter_mut().zip(&voxels[start..start + self.before]).for_each(|(o, v)| *o += weight * v);
            }
        });
        out
    }

    /// Voxels to the coefficients of the cubic B-spline through them, mirrored at the ends.
    fn prefilter(&self, voxels: &mut [f32]) {
        if self.extent < 2 {
            return;
        }
        voxels.par_chunks_mut(self.before * self.extent).for_each(|block| {
            let mut line = vec![0.0; self.extent];
            for start in 0..self.before {
                let line_of = block[start..].iter_mut().step_by(self.before);
                line.iter_mut().zip(line_of).for_each(|(to, from)| *to = f64::from(*from));
                coefficients(&mut line);
                let line_of = block[start..].iter_mut().step_by(self.before);
                line.iter().zip(line_of).for_each(|(from, to)| *to = *from as f32);
            }
        });
    }
}

/// Two recursive passes (Unser 1999, box 2), begun with the exact sums over the mirrored line.
fn coefficients(line: &mut [f64]) {
    let last = line.len() - 1;
    line.iter_mut().for_each(|value| *value *= 6.0);
    let (mut near, mut far) = (POLE, POLE.powi(i32::try_from(last).unwrap_or(i32::MAX)));
    let mut sum = line[0] + far * line[last];
    far *= far / POLE;
    for value in &line[1..last] {
        sum += (near + far) * value;
        near *= POLE;
        far /= POLE;
    }
    line[0] = sum / (1.0 - near * near);
    for index in 1..=last {
        line[index] += POLE * line[index - 1];
    }
    line[last] = POLE / (POLE * POLE - 1.0) * (POLE * line[last - 1] + line[last]);
    for index in (0..last).rev() {
        line[index] = POLE * (line[index + 1] - line[index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(extents: [usize; 3], spacing: [f64; 3]) -> Grid {
        Grid::axis_aligned(extents, spacing)
    }

    proptest! {
        #[test]
        fn a_linear_ramp_stays_one(
            extents in proptest::array::uniform3(2usize..9),
            spacing in proptest::array::uniform3(0.5f64..3.0),
            target in proptest::array::uniform3(0.5f64..3.0),
        ) {
            let grid = grid(extents, spacing);
            let resampling = Resampling::new(&grid, &TargetSpacing::Millimetres(target));
            let after = resampling.apply_to_grid(&grid);
            let ramp = |grid: &Grid, at: [usize; 3]| {
                let [x, y, z] = grid.to_world(at.map(|v| v as f64));
                1.5 * x - 2.0 * y + 0.5 * z + 10.0
            };
            let at = |index, extents| crate::data::volume::position_of(index, extents);
            let voxels = (0..grid.voxel_count()).map(|index| ramp(&grid, at(index, extents)) as f32).collect();
            let out = resampling.image(voxels, Interpolation::Linear);
            prop_assert_eq!(out.len(), after.voxel_count());
            for (index, value) in out.iter().enumerate() {
                let position = at(index, after.extents);
                // Between the outermost voxel centres only.
                let inside = (0..3).all(|axis| {
                    (0.0..=(extents[axis] - 1) as f64).contains(&resampling.position(axis, position[axis]))
                });
                // Values reach 100; weights and sums of eight are rounded to float32.
                let error = (f64::from(*value) - ramp(&after, position)).abs();
                prop_assert!(!inside || error < 100.0 * 16.0 * f64::from(f32::EPSILON), "{} at {:?}", error, position);
            }
        }

        #[test]
        fn coefficients_interpolate(line in proptest::collection::vec(-100.0f64..100.0, 2..40)) {
            let mut spline = line.clone();
            coefficients(&mut spline);
            let last = line.len() as i64 - 1;
            for (index, value) in line.iter().enumerate() {
                let at = |offset| spline[mirrored(index as i64 + offset, last as usize)];
                let found = (at(-1) + 4.0 * at(0) + at(1)) / 6.0;
                prop_assert!((found - value).abs() < 1e-11, "{} instead of {}", found, value);
            }
        }
    }

    #[test]
    fn own_spacing_changes_nothing() {
        let grid = grid([5, 3, 4], [0.7, 1.2, 3.0]);
        let voxels: Vec<f32> = (0..60u16).map(|v| f32::from(v * 7 % 13)).collect();
        for target in [TargetSpacing::default(), TargetSpacing::Millimetres([0.7, 1.2000001, 3.0])] {
            let resampling = Resampling::new(&grid, &target);
            assert!(resampling.is_identity());
            assert_eq!(resampling.apply_to_grid(&grid), grid);
            for interpolation in [Interpolation::Linear, Interpolation::Cubic] {
                assert_eq!(resampling.image(voxels.clone(), interpolation), voxels);
            }
        }
    }

    #[test]
    fn the_inverse_returns_to_the_grid() {
        let grid = grid([7, 30, 5], [0.7, 1.2, 3.0]);
        let resampling = Resampling::new(&grid, &TargetSpacing::Millimetres([1.0, 1.2, 1.5]));
        assert_eq!(resampling.to, [5, 30, 10]);
        let back = resampling.inverse().apply_to_grid(&resampling.apply_to_grid(&grid));
        assert_eq!(back.extents, grid.extents);
        for (found, expected) in back.affine.concat().iter().zip(grid.affine.concat()) {
            assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn ties_go_to_the_lower_class() {
        let grid = grid([2, 1, 1], [1.0; 3]);
        let resampling = Resampling::new(&grid, &TargetSpacing::Millimetres([2.0, 1.0, 1.0]));
        assert_eq!(resampling.labels(&[3, 1]), [1]);
    }

    #[test]
    fn names_in_configurations() {
        let text = |value: TargetSpacing| serde_json::to_string(&value).expect("JSON");
        assert_eq!(text(TargetSpacing::default()), "\"native\"");
        assert_eq!(text(TargetSpacing::Millimetres([1.0, 1.0, 1.5])), "[1.0,1.0,1.5]");
        assert_eq!(
            serde_json::from_str::<TargetSpacing>("[1, 1, 1.5]").expect("a spacing"),
            TargetSpacing::Millimetres([1.0, 1.0, 1.5])
        );
    }
}
