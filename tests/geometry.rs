//! Resampling against SimpleITK, and the way to the network's grid and back.

use std::path::Path;

use serde::Deserialize;
use vnet_engine::data::{
    Fit, Grid, Interpolation, Normalisation, Preparation, Prepared, Resampling, TargetSpacing, Volume,
};
use vnet_engine::metrics::Overlap;

/// Unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

#[derive(Deserialize)]
struct Golden {
    extents: [usize; 3],
    spacing: [f64; 3],
    affine: [[f64; 4]; 3],
    voxels: Vec<f32>,
    labels: Vec<u16>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    spacing: [f64; 3],
    size: [usize; 3],
    affine: [[f64; 4]; 3],
    linear: Vec<Option<f64>>,
    cubic: Vec<Option<f64>>,
    labels: Vec<u16>,
    ties: Vec<usize>,
}

/// `tools/golden_volumes.py resample` makes the file.
fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volumes/resample.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("golden data")).expect("JSON")
}

fn compare(what: &str, found: &[f32], expected: &[Option<f64>], bound: f64) {
    assert_eq!(found.len(), expected.len());
    let pairs = || found.iter().zip(expected).filter_map(|(f, e)| e.map(|e| (f64::from(*f), e)));
    assert_eq!(pairs().count(), expected.len(), "{what}: every voxel lies within the input");
    let worst = pairs().map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
    assert!(worst <= bound, "{what}: off by {worst:e}, bound {bound:e}");
}

#[test]
fn as_simpleitk() {
    let golden = golden();
    let grid = Grid { extents: golden.extents, spacing: golden.spacing, affine: golden.affine };
    let largest = golden.voxels.iter().fold(0.0f64, |largest, v| largest.max(f64::from(v.abs())));
    for case in &golden.cases {
        let resampling = Resampling::new(&grid, &TargetSpacing::Millimetres(case.spacing));
        let after = resampling.apply_to_grid(&grid);
        assert_eq!(after.extents, case.size);
        for (found, expected) in after.affine.concat().iter().zip(case.affine.concat()) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
        for (found, expected) in after.spacing.iter().zip(case.spacing) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
        // Three axes of two weights, two products and a sum, each rounded; SimpleITK works in float64.
        let linear = resampling.image(golden.voxels.clone(), Interpolation::Linear);
        compare("linear", &linear, &case.linear, 3.0 * 5.0 * U * largest);
        // Coefficients are up to 3 times the voxels per axis (the filter's gain at the highest frequency) and are
        // rounded once, their four weights, products and sums too.
        let cubic = resampling.image(golden.voxels.clone(), Interpolation::Cubic);
        compare("cubic", &cubic, &case.cubic, 3.0 * 27.0 * 10.0 * U * largest);
        let labels = resampling.labels(&golden.labels);
        let wrong: Vec<usize> = (0..labels.len())
            .filter(|index| labels[*index] != case.labels[*index] && !case.ties.contains(index))
            .collect();
        assert!(wrong.is_empty() && case.ties.len() < labels.len() / 4, "voxels {wrong:?}");
        assert!((0..3).all(|class| labels.contains(&class)));
    }
}

/// Oblique, anisotropic and left-handed, like a prostate scan.
fn oblique() -> Grid {
    let spacing = [0.625, 0.625, 3.6];
    let directions = [[0.997416, -0.0150985, 0.0702438], [0.0, 0.97767, 0.210144], [-0.0718482, -0.209601, 0.975144]];
    let mut affine = [[0.0; 4]; 3];
    for (row, values) in affine.iter_mut().enumerate() {
        for axis in 0..3 {
            values[axis] = directions[axis][row] * spacing[axis] * if row < 2 { -1.0 } else { 1.0 };
        }
        values[3] = [88.6, 98.6, -31.4][row];
    }
    Grid { extents: [96, 90, 20], spacing, affine }
}

/// A smooth organ of two classes: an ellipsoid with a wavy surface and a core, in millimetres about the centre.
fn organ(grid: &Grid) -> Vec<u16> {
    let centre = grid.to_world(grid.extents.map(|extent| (extent as f64 - 1.0) / 2.0));
    let label = |index: usize| {
        let [nx, ny, _] = grid.extents;
        let voxel = [index % nx, index / nx % ny, index / (nx * ny)].map(|v| v as f64);
        let world = grid.to_world(voxel);
        let [x, y, z] = [0, 1, 2].map(|axis| (world[axis] - centre[axis]) / [21.0, 17.0, 24.0][axis]);
        let radius = (x * x + y * y + z * z).sqrt() + 0.06 * (4.0 * x).sin() * (3.0 * y + 1.0).cos();
        u16::from(radius < 1.0) + u16::from(radius < 0.6)
    };
    (0..grid.voxel_count()).map(label).collect()
}

fn preparation(spacing: TargetSpacing, canonical: bool) -> Preparation {
    Preparation {
        spacing,
        interpolation: Interpolation::Cubic,
        patch: [64, 64, 32],
        classes: 3,
        canonical,
        ..Preparation::native(Normalisation::None)
    }
}

/// Errors of the f32 arithmetic of two classes' weights, between which the larger is chosen: three axes of two weights, two products
/// and a sum, each rounded.
const TIE: f64 = 2.0 * 3.0 * 5.0 * U;

/// World coordinates to voxel indices: the inverse of the affine, by Cramer's rule.
fn index_of(grid: &Grid, world: [f64; 3]) -> [f64; 3] {
    let a = grid.affine;
    let cofactor = |row: usize, column: usize| {
        let [r, s] = [(row + 1) % 3, (row + 2) % 3];
        let [c, d] = [(column + 1) % 3, (column + 2) % 3];
        a[r][c] * a[s][d] - a[r][d] * a[s][c]
    };
    let determinant: f64 = (0..3).map(|column| a[0][column] * cofactor(0, column)).sum();
    let offset: [f64; 3] = std::array::from_fn(|row| world[row] - a[row][3]);
    std::array::from_fn(|axis| (0..3).map(|row| cofactor(row, axis) * offset[row]).sum::<f64>() / determinant)
}

fn place(grid: &Grid, index: usize) -> [usize; 3] {
    let [nx, ny, _] = grid.extents;
    [index % nx, index / nx % ny, index / (nx * ny)]
}

/// The definition of resampling, voxel by voxel in f64 and by world coordinates: the label of `to` with the largest trilinear weight
/// among the eight nearest voxels of `from`, and by how much it leads. What lies outside has label 0.
fn definition(labels: &[u16], from: &Grid, to: &Grid, voxel: [usize; 3]) -> (u16, f64) {
    let position = index_of(from, to.to_world(voxel.map(|v| v as f64)));
    let mut weights = [0.0; 3];
    for corner in 0..8 {
        let mut weight = 1.0;
        let at: [i64; 3] = std::array::from_fn(|axis| {
            let (low, upper) = (position[axis].floor(), corner >> axis & 1);
            let part = position[axis] - low;
            weight *= if upper == 1 { part } else { 1.0 - part };
            low as i64 + upper as i64
        });
        let inside = (0..3).all(|axis| (0..from.extents[axis] as i64).contains(&at[axis]));
        let [x, y, z] = at.map(|v| v as usize);
        let label = if inside { labels[(z * from.extents[1] + y) * from.extents[0] + x] } else { 0 };
        weights[usize::from(label)] += weight;
    }
    let winner = (0..3).fold(0, |best, class| if weights[class] > weights[best] { class } else { best });
    let second = (0..3).filter(|&class| class != winner).map(|class| weights[class]).fold(0.0, f64::max);
    (winner as u16, weights[winner] - second)
}

/// Labels that were resampled are those of the definition, but for ties.
fn assert_resampled(found: &[u16], labels: &[u16], from: &Grid, to: &Grid) {
    let mut ties = 0;
    for (index, &found) in found.iter().enumerate() {
        let (expected, lead) = definition(labels, from, to, place(to, index));
        ties += usize::from(lead <= TIE);
        assert!(found == expected || lead <= TIE, "voxel {:?}: {found}, not {expected} by {lead}", place(to, index));
    }
    assert!(ties < found.len() / 20, "{ties} ties of {}", found.len());
}

/// A label that is another after the way to the network's grid and back has a voxel of another label near it: a voxel of the file takes
/// its label from voxels of the network less than one of these away along each axis, and they theirs from voxels of the file less than
/// one away.
fn assert_changes_lie_at_borders(back: &[u16], labels: &[u16], file: &Grid, network: &Grid) {
    let reach: [usize; 3] = std::array::from_fn(|axis| {
        let size = |row: &usize| file.affine[*row][axis].abs();
        let parallel = (0..3).max_by(|a, b| size(a).total_cmp(&size(b))).expect("three axes");
        (network.spacing[parallel] / file.spacing[axis] + 1.0).ceil() as usize
    });
    let [nx, ny, _] = file.extents;
    let mut changed = 0;
    for index in (0..labels.len()).filter(|&index| back[index] != labels[index]) {
        let at = place(file, index);
        let ranges: [std::ops::RangeInclusive<usize>; 3] = std::array::from_fn(|axis| {
            at[axis].saturating_sub(reach[axis])..=(at[axis] + reach[axis]).min(file.extents[axis] - 1)
        });
        let [xs, ys, zs] = ranges;
        let near = zs.flat_map(|z| ys.clone().map(move |y| (y, z))).flat_map(|(y, z)| {
            let row = (z * ny + y) * nx;
            &labels[row + xs.start()..=row + xs.end()]
        });
        assert!(near.into_iter().any(|label| *label == back[index]), "{at:?} lies within one label");
        changed += 1;
    }
    assert!(changed > 0, "a way that changes nothing tests nothing");
}

/// A label map that goes to the network's grid and comes back, as labels and as probabilities.
#[test]
fn a_smooth_organ_survives_the_round_trip() {
    let grid = oblique();
    let labels = organ(&grid);
    let voxels = labels.iter().map(|&label| f32::from(label) * 100.0).collect();
    let volume = Volume { grid: grid.clone(), voxels };
    for spacing in [[1.0, 1.0, 1.5], [0.8, 0.9, 3.0]] {
        let prepared =
            Prepared::from_volume(volume.clone(), &preparation(TargetSpacing::Millimetres(spacing), true), Fit::Whole);
        let geometry = &prepared.geometry;
        for (found, expected) in geometry.grid.spacing.iter().zip(spacing) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
        assert_eq!(geometry.grid.orientation_code(), "RAS");
        let there = geometry.apply_labels(&labels, 0);
        assert_eq!(there.len(), geometry.grid.voxel_count());
        let probabilities: Vec<f32> =
            there.iter().flat_map(|&label| (0..3).map(move |class| f32::from(u8::from(label == class)))).collect();
        let [as_labels, as_probabilities] =
            [geometry.restore_labels(&there, 0), geometry.restore_classes(&probabilities, 3)];
        assert_eq!(as_labels, as_probabilities);
        assert_resampled(&there, &labels, &grid, &geometry.grid);
        assert_resampled(&as_labels, &there, &geometry.grid, &grid);
        assert_changes_lie_at_borders(&as_labels, &labels, &grid, &geometry.grid);
        for class in [1, 2] {
            let dice = Overlap::count(&as_labels, &labels, class).expect("equal sizes").dice().expect("not empty");
            println!("class {class} at {spacing:?}: Dice {dice:.4}");
        }
    }
}

/// The axes of the oblique grid in another order, the first one reversed.
fn turned(order: [usize; 3]) -> Grid {
    let before = oblique();
    let mut grid = before.clone();
    for (axis, &from) in order.iter().enumerate() {
        (grid.extents[axis], grid.spacing[axis]) = (before.extents[from], before.spacing[from]);
        let last = before.extents[from] as f64 - 1.0;
        for row in 0..3 {
            let step = before.affine[row][from];
            grid.affine[row][axis] = if axis == 0 { -step } else { step };
            if axis == 0 {
                grid.affine[row][3] += step * last;
            }
        }
    }
    grid
}

/// Ellipsoids on grids of every order of axes: reoriented, resampled, centred in a patch, and all the way back.
#[test]
fn ellipsoids_survive_the_way_through_a_patch() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let grid = turned(order);
        assert!(grid.same_grid(&turned([0, 1, 2])) == (order == [0, 1, 2]));
        let centre = grid.to_world(grid.extents.map(|extent| (extent as f64 - 1.0) / 2.0));
        for (semi_axes, spacing) in [
            ([21.0, 17.0, 24.0], [1.0, 1.0, 1.5]),
            ([14.0, 20.0, 16.0], [0.8, 1.1, 2.0]),
            ([23.0, 12.0, 19.0], [1.25; 3]),
        ] {
            let [nx, ny, _] = grid.extents;
            let inside = |index: usize| {
                let world = grid.to_world([index % nx, index / nx % ny, index / (nx * ny)].map(|v| v as f64));
                (0..3).map(|axis| ((world[axis] - centre[axis] - 2.0) / semi_axes[axis]).powi(2)).sum::<f64>() < 1.0
            };
            let labels: Vec<u16> = (0..grid.voxel_count()).map(|index| u16::from(inside(index))).collect();
            let volume = Volume { grid: grid.clone(), voxels: labels.iter().map(|&l| f32::from(l)).collect() };
            // Larger than the organ, smaller than the volume along x and y.
            let patch = Preparation { patch: [56, 48, 48], ..preparation(TargetSpacing::Millimetres(spacing), true) };
            let geometry = Prepared::from_volume(volume, &patch, Fit::Patch).geometry;
            assert_eq!((geometry.grid.extents, geometry.grid.orientation_code()), ([56, 48, 48], "RAS".to_owned()));
            let there = geometry.apply_labels(&labels, 0);
            let back = geometry.restore_labels(&there, 0);
            assert_resampled(&there, &labels, &grid, &geometry.grid);
            assert_resampled(&back, &there, &geometry.grid, &grid);
            assert_changes_lie_at_borders(&back, &labels, &grid, &geometry.grid);
            let dice = Overlap::count(&back, &labels, 1).expect("equal sizes").dice().expect("not empty");
            println!("axes {order:?}, semi-axes {semi_axes:?} mm, spacing {spacing:?} mm: Dice {dice:.4}");
        }
    }
}

/// Where the spacing is the volume's own, the way there and back is exact, whatever the orientation.
#[test]
fn own_spacing_is_exact() {
    let grid = oblique();
    let labels = organ(&grid);
    let voxels: Vec<f32> = (0..grid.voxel_count()).map(|v| (v * 7919 % 1013) as f32 * 0.37 - 100.0).collect();
    let volume = Volume { grid: grid.clone(), voxels };
    for spacing in [TargetSpacing::default(), TargetSpacing::Millimetres(grid.spacing)] {
        for canonical in [false, true] {
            let prepared = Prepared::from_volume(volume.clone(), &preparation(spacing, canonical), Fit::Whole);
            let geometry = &prepared.geometry;
            assert_eq!(geometry.restore_image(&prepared.image, f32::NAN), volume.voxels);
            assert_eq!(geometry.restore_labels(&geometry.apply_labels(&labels, 0), 9), labels);
        }
    }
}

/// The prepared volume lies where the file's lies: a ramp in world coordinates stays one.
#[test]
fn prepared_volumes_stay_where_they_are_in_the_patient() {
    let grid = oblique();
    for axis in 0..3 {
        let ramp = |grid: &Grid, index| grid.to_world(place(grid, index).map(|v| v as f64))[axis];
        let voxels = (0..grid.voxel_count()).map(|index| ramp(&grid, index) as f32).collect();
        let settings = Preparation {
            interpolation: Interpolation::Linear,
            ..preparation(TargetSpacing::Millimetres([1.0, 1.0, 1.5]), true)
        };
        let prepared = Prepared::from_volume(Volume { grid: grid.clone(), voxels }, &settings, Fit::Whole);
        let extents = prepared.geometry.grid.extents;
        let mut checked = 0;
        for (index, value) in prepared.image.iter().enumerate() {
            let at = place(&prepared.geometry.grid, index);
            // Padding and the voxels at the ends, beyond the file's outermost voxel centres, are no ramp.
            if (0..3).all(|axis| (4..extents[axis] - 4).contains(&at[axis])) {
                let expected = ramp(&prepared.geometry.grid, index);
                assert!((f64::from(*value) - expected).abs() < 1e-3, "axis {axis} at {at:?}: {value}, not {expected}");
                checked += 1;
            }
        }
        assert!(checked > 10_000);
    }
}
