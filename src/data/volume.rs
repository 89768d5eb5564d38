//! A grid of voxels in the patient, and what it carries: intensities or labels.
//!
//! World coordinates are millimetres in RAS+ (x to the patient's Right, y Anterior, z Superior), as
//! in NIfTI and nibabel: world = affine[.., 0..3] · (i, j, k) + affine[.., 3] for the voxel with
//! indices i, j, k along x, y, z.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DataError;

/// Two grids are one if no corner lies further apart than this part of the smallest spacing. A tenth of a voxel never moves
/// a label to another voxel, and it is far above the rounding of affines to float32 or to printed decimals.
pub(crate) const SAME_GRID_TOLERANCE: f64 = 0.1;

/// The orders of three axes.
pub(super) const AXIS_ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Where the voxels of a volume lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Number of voxels along x, y, z.
    pub extents: [usize; 3],
    /// Distance of neighbouring voxels along x, y, z in mm: the length of the affine's columns.
    pub spacing: [f64; 3],
    /// Voxel indices to RAS+ millimetres: three rows of four, as the upper part of nibabel's 4 x 4 matrix.
    pub affine: [[f64; 4]; 3],
}

/// Intensities on a grid; index = (z · extent_y + y) · extent_x + x.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Where the voxels lie.
    pub grid: Grid,
    /// Intensities after the file's scaling, x fastest: row-major (z, y, x) = (D, H, W).
    pub voxels: Vec<f32>,
}

/// Class labels on a grid, in the order of [`Volume::voxels`]; 0 is the background.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelMap {
    /// Where the voxels lie.
    pub grid: Grid,
    /// Labels, x fastest.
    pub voxels: Vec<u16>,
}

/// The direction in the patient that a voxel axis points along, most nearly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisDirection {
    /// World axis: 0 right-left, 1 anterior-posterior, 2 superior-inferior.
    pub world: usize,
    /// True where rising indices go left, posterior or inferior.
    pub negative: bool,
}

impl Grid {
    /// A grid along the world axes with its first voxel at the origin.
    pub fn axis_aligned(extents: [usize; 3], spacing: [f64; 3]) -> Grid {
        let [x, y, z] = spacing;
        Grid { extents, spacing, affine: [[x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0]] }
    }

    /// Whether the grid can be one, and has so many voxels; `path` is what the error names.
    fn check(&self, path: &Path, voxels: usize) -> Result<(), DataError> {
        let path = path.to_path_buf();
        let header = |field, found, expected| Err(DataError::Header { path: path.clone(), field, found, expected });
        if !self.spacing.iter().all(|spacing| spacing.is_finite() && *spacing > 0.0) {
            return header("spacing", format!("{:?}", self.spacing), "three positive numbers of mm");
        }
        if !self.affine.iter().flatten().all(|number| number.is_finite()) {
            return header("affine", format!("{:?}", self.affine), "three rows of four finite numbers");
        }
        let count = self.extents.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        match count {
            Some(0) | None => header("extents", format!("{:?}", self.extents), "at least 1 voxel along x, y and z"),
            Some(expected) if expected != voxels => {
                Err(DataError::VoxelCount { path, voxels, expected, shape: self.extents.to_vec() })
            }
            Some(_) => Ok(()),
        }
    }

    /// Number of voxels.
    pub fn voxel_count(&self) -> usize {
        self.extents.iter().product()
    }

    /// Extents in the order of the network's tensors: D, H, W = z, y, x.
    pub fn dhw(&self) -> [usize; 3] {
        [self.extents[2], self.extents[1], self.extents[0]]
    }

    /// World position in mm (RAS+) of a voxel position x, y, z.
    pub fn to_world(&self, voxel: [f64; 3]) -> [f64; 3] {
        self.affine.map(|row| row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3])
    }

    /// The world direction nearest to each voxel axis: of the six assignments the one whose
    /// direction cosines add up to the most, so every world axis is used once.
    pub fn closest_axes(&self) -> [AxisDirection; 3] {
        let cosine: [[f64; 3]; 3] = std::array::from_fn(|axis| {
            let column = self.affine.map(|row| row[axis]);
            let length = column.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            column.map(|value| value / length)
        });
        let score = |assignment: &[usize; 3]| (0..3).map(|axis| cosine[axis][assignment[axis]].abs()).sum::<f64>();
        let mut best = AXIS_ORDERS[0];
        for assignment in &AXIS_ORDERS[1..] {
            // The margin keeps the earlier assignment on a tie in spite of rounding.
            if score(assignment) > score(&best) + 1e-9 {
                best = *assignment;
            }
        }
        std::array::from_fn(|axis| AxisDirection { world: best[axis], negative: cosine[axis][best[axis]] < 0.0 })
    }

    /// Orientation as nibabel's `aff2axcodes`: the direction in which x, y and z rise, such as `RAS` or `LPI`.
    pub fn orientation_code(&self) -> String {
        let codes = [['R', 'L'], ['A', 'P'], ['S', 'I']];
        self.closest_axes().iter().map(|axis| codes[axis.world][usize::from(axis.negative)]).collect()
    }

    /// True if both grids have the same extents and every corner voxel lies at the same place within a tenth of the smallest
    /// spacing.
    pub fn same_grid(&self, other: &Grid) -> bool {
        self.difference(other).is_none()
    }

    /// What keeps two grids from being the same, with both values, as part of a sentence about `self`.
    pub fn difference(&self, other: &Grid) -> Option<String> {
        if self.extents != other.extents {
            return Some(format!("extents (x, y, z) are {:?} instead of {:?}", self.extents, other.extents));
        }
        let smallest = self.spacing.iter().chain(&other.spacing).copied().fold(f64::INFINITY, f64::min);
        let tolerance = SAME_GRID_TOLERANCE * smallest;
        let mut worst = (0.0f64, [0.0; 3], [0.0; 3], [0.0; 3]);
        for corner in 0..8 {
            let voxel =
                std::array::from_fn(|axis| if corner >> axis & 1 == 1 { (self.extents[axis] - 1) as f64 } else { 0.0 });
            let (here, there) = (self.to_world(voxel), other.to_world(voxel));
            let distance = (0..3).map(|axis| (here[axis] - there[axis]).powi(2)).sum::<f64>().sqrt();
            if distance > worst.0 {
                worst = (distance, voxel, here, there);
            }
        }
        let (distance, voxel, here, there) = worst;
        (distance > tolerance).then(|| {
            let codes = [self, other].map(Grid::orientation_code);
            let turned =
                if codes[0] == codes[1] { String::new() } else { format!(" ({} instead of {})", codes[0], codes[1]) };
            format!("affine places voxel {voxel:?} at {here:.2?} mm instead of {there:.2?} mm{turned}")
        })
    }
}

impl Volume {
    /// A volume of intensities that are in memory; index = (z · extent_y + y) · extent_x + x.
    ///
    /// # Errors
    /// [`DataError`] when the grid has no voxels or no finite positive spacing, or there are not as many intensities, or some
    /// are not finite; its place of a file name says `volume`.
    ///
    /// ```
    /// use vnet_engine::data::{Grid, Volume};
    ///
    /// let grid = Grid::axis_aligned([4, 3, 2], [0.5, 0.5, 3.0]);
    /// let volume = Volume::new(grid.clone(), (0..24).map(|i| i as f32).collect())?;
    /// assert_eq!(volume.grid.dhw(), [2, 3, 4]);
    /// let error = Volume::new(grid, vec![0.0; 23]).unwrap_err();
    /// assert_eq!(error.to_string(), "volume: 23 voxels, expected 24 (4 x 3 x 2)");
    /// # Ok::<(), vnet_engine::data::DataError>(())
    /// ```
    pub fn new(grid: Grid, voxels: Vec<f32>) -> Result<Volume, DataError> {
        let path = Path::new("volume");
        grid.check(path, voxels.len())?;
        let mut odd = NonFinite::default();
        voxels.iter().for_each(|&value| odd.note(value));
        odd.check(path, None, grid.extents)?;
        Ok(Volume { grid, voxels })
    }
}

/// Counts voxels that are no numbers.
#[derive(Clone, Default)]
pub(crate) struct NonFinite {
    seen: usize,
    count: usize,
    first: usize,
}

impl NonFinite {
    /// Takes the next voxel.
    pub(crate) fn note(&mut self, value: f32) {
        if !value.is_finite() {
            if self.count == 0 {
                self.first = self.seen;
            }
            self.count += 1;
        }
        self.seen += 1;
    }

    /// The error of a file with such voxels; of a channel, where there are several.
    pub(crate) fn check(&self, path: &Path, channel: Option<usize>, extents: [usize; 3]) -> Result<(), DataError> {
        if self.count == 0 {
            return Ok(());
        }
        let problem = format!(
            "{} of {} voxels{} are NaN or infinite (first at x, y, z = {:?}), expected finite numbers",
            self.count,
            self.seen,
            channel.map(|channel| format!(" of channel {channel}")).unwrap_or_default(),
            position_of(self.first, extents)
        );
        Err(DataError::unusable(path, problem))
    }
}

impl LabelMap {
    /// Labels that are in memory, in the order of [`Volume::new`].
    ///
    /// # Errors
    /// [`DataError`] when the grid has no voxels or no finite positive spacing, or there are not as many labels; its place of
    /// a file name says `label map`.
    pub fn new(grid: Grid, voxels: Vec<u16>) -> Result<LabelMap, DataError> {
        grid.check(Path::new("label map"), voxels.len())?;
        Ok(LabelMap { grid, voxels })
    }
}

/// Indices x, y, z of a linear voxel index.
pub(crate) fn position_of(index: usize, extents: [usize; 3]) -> [usize; 3] {
    let [nx, ny, _] = extents.map(|extent| extent.max(1));
    [index % nx, index / nx % ny, index / (nx * ny)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oblique() -> Grid {
        // Axes point left, inferior and (mostly) anterior.
        Grid {
            extents: [7, 5, 4],
            spacing: [0.7, 2.0, 1.1],
            affine: [[-0.7, 0.0, 0.02, 11.0], [0.03, 0.1, 1.09, -7.0], [0.0, -1.99, 0.1, 3.5]],
        }
    }

    #[test]
    fn orientation_of_an_oblique_grid() {
        assert_eq!(oblique().orientation_code(), "LIA");
        assert_eq!(Grid::axis_aligned([3, 4, 5], [1.0, 2.0, 3.0]).orientation_code(), "RAS");
    }

    #[test]
    fn world_position_follows_the_affine() {
        let world = oblique().to_world([2.0, 1.0, 3.0]);
        for (got, expected) in world.iter().zip([9.66, -3.57, 1.81]) {
            assert!((got - expected).abs() < 1e-12, "{got} instead of {expected}");
        }
    }

    #[test]
    fn same_grid_tolerates_rounding_but_no_shift() {
        let grid = oblique();
        let mut rounded = grid.clone();
        rounded.affine[1][3] += 1e-3;
        assert!(grid.same_grid(&rounded));
        let mut shifted = grid.clone();
        shifted.affine[1][3] += 0.2;
        let difference = grid.difference(&shifted).expect("shifted by 0.2 mm");
        assert!(difference.contains("affine"), "{difference}");
        let mut cropped = grid.clone();
        cropped.extents[2] = 3;
        assert_eq!(cropped.difference(&grid).expect("cropped"), "extents (x, y, z) are [7, 5, 3] instead of [7, 5, 4]");
    }

    #[test]
    fn position_inverts_the_linear_index() {
        assert_eq!(position_of((3 * 5 + 2) * 7 + 6, [7, 5, 4]), [6, 2, 3]);
    }
}
