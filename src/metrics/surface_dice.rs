//! Surface Dice, or normalised surface distance: the part of both surfaces that lies within a tolerance of the other one
//! (Nikolov et al. 2021, J Med Internet Res 23:e26151).
//!
//! ```text
//! ( area of P within t of R + area of R within t of P ) / ( area of P + area of R )
//! ```
//!
//! As in the package `surface-distance` of DeepMind, a surface is made of the cubes between eight neighbouring voxel centres that
//! are neither all inside nor all outside. The area of a cube is that of the triangles of marching cubes in it, and its
//! distance the one between centres of cubes. Beyond the volume everything is outside.

use super::surface::squared_distance_transform;
use super::surfels::areas;
use super::{LabelPair, MetricError, check_spacing, check_voxels};

/// Surface Dice of a class at a tolerance in mm, 0 to 1: 0 where only one of the two maps has the class, `None` where neither
/// has it.
///
/// # Errors
/// When a label map does not fill the extents, or the spacing is not positive.
///
/// ```
/// use vnet_engine::metrics::{LabelPair, surface_dice};
///
/// // A voxel that was found one slice of 3 mm too high.
/// let (prediction, reference) = (&[0, 0, 0, 1][..], &[0, 0, 1, 0][..]);
/// let pair = LabelPair { prediction, reference, extents: [1, 1, 4], spacing: [1.0, 1.0, 3.0] };
/// assert_eq!(surface_dice(&pair, 1, 3.0)?, Some(1.0));
/// // Half of the cubes around each are also around the other.
/// assert_eq!(surface_dice(&pair, 1, 2.9)?, Some(0.5));
/// # Ok::<(), vnet_engine::metrics::MetricError>(())
/// ```
pub fn surface_dice(pair: &LabelPair<'_>, class: u16, tolerance_mm: f64) -> Result<Option<f64>, MetricError> {
    check_voxels("prediction", pair.prediction.len(), pair.extents)?;
    check_voxels("reference", pair.reference.len(), pair.extents)?;
    check_spacing(pair.spacing)?;
    let areas = areas(pair.spacing);
    let extents = pair.extents.map(|extent| extent + 1);
    let surfaces = [pair.prediction, pair.reference].map(|map| codes(map, class, pair.extents));
    let is_surface = |code: &u8| *code != 0 && *code != u8::MAX;
    let [to_prediction, to_reference] = surfaces.each_ref().map(|codes| {
        let marked: Vec<bool> = codes.iter().map(is_surface).collect();
        squared_distance_transform(&marked, extents, pair.spacing)
    });
    let (mut within, mut all) = (0.0, 0.0);
    for (codes, distances) in surfaces.iter().zip([to_reference, to_prediction]) {
        for (code, squared) in codes.iter().zip(distances).filter(|(code, _)| is_surface(code)) {
            let area = areas[usize::from(*code)];
            all += area;
            if squared.sqrt() <= tolerance_mm {
                within += area;
            }
        }
    }
    Ok((all > 0.0).then(|| within / all))
}

/// For each cube between voxel centres, one more than voxels along each axis, which of its voxels are of the class: the bits of
/// [`super::surfels`].
fn codes(labels: &[u16], class: u16, [nx, ny, nz]: [usize; 3]) -> Vec<u8> {
    let mut codes = vec![0u8; (nx + 1) * (ny + 1) * (nz + 1)];
    for (voxel, _) in labels.iter().enumerate().filter(|(_, label)| **label == class) {
        let (x, y, z) = (voxel % nx, voxel / nx % ny, voxel / (nx * ny));
        for corner in 0..8 {
            let [right, back, up] = [corner >> 2 & 1, corner >> 1 & 1, corner & 1];
            // The cube at (x + 1, y + 1, z + 1) has this voxel as its first, that at (x, y, z) as its last.
            let cube = ((z + 1 - up) * (ny + 1) + y + 1 - back) * (nx + 1) + x + 1 - right;
            codes[cube] |= 1 << (7 - corner);
        }
    }
    codes
}
