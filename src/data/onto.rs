//! A volume on the grid of another one, wherever the two lie in the patient.

use rayon::prelude::*;

use super::volume::{Grid, Volume};

/// The intensities of a volume at the voxels of a grid, linear between its voxels. Beyond the volume they are its lowest
/// intensity: air in CT, no signal in MR. Voxels within half a voxel of the volume's border count as inside and have the
/// intensity at the border, as in ITK.
pub(super) fn resampled_onto(volume: &Volume, grid: &Grid) -> Volume {
    let lowest = volume.voxels.iter().copied().fold(f32::INFINITY, f32::min);
    let map = VoxelMap::new(grid, &volume.grid);
    let [nx, ny, nz] = grid.extents;
    let rows = (0..ny * nz).into_par_iter().flat_map_iter(|row| {
        let at = [(row % ny) as f64, (row / ny) as f64];
        let map = &map;
        (0..nx).map(move |x| at_point(volume, map.apply([x as f64, at[0], at[1]])).unwrap_or(lowest))
    });
    Volume { grid: grid.clone(), voxels: rows.collect() }
}

/// From voxels of one grid to those of another.
struct VoxelMap {
    rows: [[f64; 4]; 3],
}

impl VoxelMap {
    fn new(from: &Grid, to: &Grid) -> VoxelMap {
        let inverse = inverted(&to.affine);
        let rows = inverse.map(|row| {
            let product = |column: usize| (0..3).map(|k| row[k] * from.affine[k][column]).sum::<f64>();
            [product(0), product(1), product(2), product(3) + row[3]]
        });
        VoxelMap { rows }
    }

    fn apply(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        self.rows.map(|row| row[0] * x + row[1] * y + row[2] * z + row[3])
    }
}

/// The inverse of an affine, by cofactors. A grid has three independent axes.
fn inverted(affine: &[[f64; 4]; 3]) -> [[f64; 4]; 3] {
    let cofactor = |row: usize, column: usize| {
        let ([a, b], [c, d]) = ([(row + 1) % 3, (row + 2) % 3], [(column + 1) % 3, (column + 2) % 3]);
        affine[a][c] * affine[b][d] - affine[a][d] * affine[b][c]
    };
    let determinant: f64 = (0..3).map(|column| affine[0][column] * cofactor(0, column)).sum();
    std::array::from_fn(|row| {
        let linear: [f64; 3] = std::array::from_fn(|column| cofactor(column, row) / determinant);
        let shift: f64 = -(0..3).map(|k| linear[k] * affine[k][3]).sum::<f64>();
        [linear[0], linear[1], linear[2], shift]
    })
}

/// The intensity at a position in voxels; none beyond the volume.
fn at_point(volume: &Volume, point: [f64; 3]) -> Option<f32> {
    let extents = volume.grid.extents;
    let mut low = [0usize; 3];
    let mut high = [0usize; 3];
    let mut part = [0f64; 3];
    for axis in 0..3 {
        let last = (extents[axis] - 1) as f64;
        // NaN of a grid without volume is beyond it too.
        if !(-0.5..=last + 0.5).contains(&point[axis]) {
            return None;
        }
        let inside = point[axis].clamp(0.0, last);
        low[axis] = inside.floor() as usize;
        high[axis] = (low[axis] + 1).min(extents[axis] - 1);
        part[axis] = inside - inside.floor();
    }
    let value = |x: usize, y: usize, z: usize| f64::from(volume.voxels[(z * extents[1] + y) * extents[0] + x]);
    let along_x = |y, z| value(low[0], y, z) * (1.0 - part[0]) + value(high[0], y, z) * part[0];
    let along_y = |z| along_x(low[1], z) * (1.0 - part[1]) + along_x(high[1], z) * part[1];
    Some((along_y(low[2]) * (1.0 - part[2]) + along_y(high[2]) * part[2]) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A linear function of the position is kept by linear interpolation, on oblique grids too.
    #[test]
    fn a_gradient_in_the_patient_stays_one() {
        let gradient = |[x, y, z]: [f64; 3]| 3.0 * x - 2.0 * y + 0.5 * z + 7.0;
        let (sin, cos) = 0.3f64.sin_cos();
        let source = Grid {
            extents: [14, 16, 12],
            spacing: [1.0, 1.5, 2.0],
            affine: [[cos, -1.5 * sin, 0.0, -9.0], [sin, 1.5 * cos, 0.0, -13.0], [0.0, 0.0, -2.0, 11.0]],
        };
        let voxels = (0..source.voxel_count()).map(|at| {
            let position = super::super::volume::position_of(at, source.extents);
            gradient(source.to_world(position.map(|p| p as f64))) as f32
        });
        let volume = Volume { voxels: voxels.collect(), grid: source };
        let grid = Grid {
            affine: [[0.8, 0.0, 0.0, -8.0], [0.0, 0.9, 0.0, -2.0], [0.0, 0.0, 1.1, -1.5]],
            ..Grid::axis_aligned([6, 5, 4], [0.8, 0.9, 1.1])
        };
        let found = resampled_onto(&volume, &grid);
        for (at, value) in found.voxels.iter().enumerate() {
            let position = super::super::volume::position_of(at, grid.extents).map(|p| p as f64);
            let expected = gradient(grid.to_world(position));
            // Values up to 100 in float32, before and after.
            assert!((f64::from(*value) - expected).abs() < 2e-5, "{value} instead of {expected}");
        }
    }

    #[test]
    fn beyond_the_volume_is_its_lowest_intensity() {
        let grid = Grid::axis_aligned([2, 1, 1], [2.0, 1.0, 1.0]);
        let volume = Volume { grid, voxels: vec![-1024.0, 8.0] };
        let wider = Grid {
            affine: [[1.0, 0.0, 0.0, -2.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
            ..Grid::axis_aligned([7, 1, 1], [1.0; 3])
        };
        // World x from -2 to 4; the volume is measured from -1 to 3.
        let expected = [-1024.0, -1024.0, -1024.0, -508.0, 8.0, 8.0, -1024.0];
        assert_eq!(resampled_onto(&volume, &wider).voxels, expected);
    }
}
