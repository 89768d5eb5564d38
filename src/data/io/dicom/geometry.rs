//! Do slices make one grid? Tolerances, and where they come from.
//!
//! ITK's `ImageSeriesReader` (5.4) takes rows, columns and their spacing from the lowest slice, the third axis from the way to the
//! highest, and compares nothing but the size; it warns where the distance of two neighbours differs from the mean by more
//! than 1e-4 of it (`SpacingWarningRelThreshold`). So does this reader, and it refuses what ITK would put in the wrong place:
//!
//! - **In the slice.** Spacings and cosines are written with as few as four digits, and not by all files with as many. Slices are
//!   of one grid if all their corners, from their first pixels, lie within a tenth of a pixel of where the lowest slice has
//!   them: the tolerance with which two volumes are of one grid ([`SAME_GRID_TOLERANCE`]).
//! - **From slice to slice.** A slice lies within a sixth of a voxel of its place on the even grid, along each axis. Then the
//!   distances of neighbours lie between 2/3 and 4/3 of the mean, so that of no two distances one is twice the other, which a
//!   missing slice would make of them, or one put between; a doubled slice makes a distance of 0. (One of n + 1 slices
//!   missing puts a slice off by a quarter of the mean at least: by that where n is 4.)

use std::collections::BTreeMap;

use super::slice::Slice;
use crate::data::Warning;
use crate::data::volume::SAME_GRID_TOLERANCE;

/// A slice may be off its place by this part of a voxel.
const OFF_PLACE: f64 = 1.0 / 6.0;
/// Distances of neighbours that differ by more than this part of their mean are worth a warning, as in ITK.
const UNEVEN: f64 = 1e-4;

/// Cosine of a tilt of 1.1°: directions are printed with as few as four digits.
const UPRIGHT: f64 = 0.9998;

/// Names the first slice that is of another series, size or grid than most are.
pub(super) fn check_alike(slices: &[Slice]) -> Result<(), String> {
    let typical = typical(slices);
    match slices.iter().find_map(|slice| Some((slice, difference(typical, slice)?))) {
        None => Ok(()),
        Some((slice, (what, found, usual))) => {
            let (file, other) = (slice.name(), typical.name());
            Err(format!("{what} of {file} is {found} and of {other} {usual}"))
        }
    }
}

/// A slice of those that most are like, the first where there are several such kinds.
fn typical(slices: &[Slice]) -> &Slice {
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    for slice in slices {
        *kinds.entry((&slice.series.uid, slice.extents)).or_default() += 1;
    }
    let most = kinds.values().max();
    slices.iter().find(|slice| kinds.get(&(&slice.series.uid, slice.extents)) == most).unwrap_or(&slices[0])
}

/// Sorts slices along their normal, and returns it.
pub(super) fn sort(slices: &mut [Slice]) -> [f64; 3] {
    let normal = normal_of(&slices[0]);
    let along = |slice: &Slice| dot(slice.position, normal);
    slices.sort_by(|a, b| along(a).total_cmp(&along(b)).then_with(|| a.place.cmp(&b.place)));
    normal
}

/// The normal of a slice, which points to where slices count up.
pub(super) fn normal_of(slice: &Slice) -> [f64; 3] {
    let [x, y] = slice.directions;
    [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
}

/// A warning where the slices do not lie above each other.
pub(super) fn tilt(step: [f64; 3], normal: [f64; 3]) -> Option<Warning> {
    let upright = dot(step, normal) / distance(step, [0.0; 3]);
    (upright < UPRIGHT).then(|| {
        let detail = format!("gantry tilt of {:.1}°", upright.acos().to_degrees());
        Warning::with("slices are shifted against each other", detail)
    })
}

/// What keeps two slices from being of one volume: the attribute, and its values.
fn difference(first: &Slice, other: &Slice) -> Option<(&'static str, String, String)> {
    let flat = |slice: &Slice| slice.directions.concat();
    if first.series.uid != other.series.uid {
        return Some(("SeriesInstanceUID", other.series.uid.clone(), first.series.uid.clone()));
    }
    if first.extents != other.extents {
        return Some(("size", format!("{:?}", other.extents), format!("{:?}", first.extents)));
    }
    if moves(first, other.spacing, first.directions) {
        return Some(("PixelSpacing", format!("{:?}", other.spacing), format!("{:?}", first.spacing)));
    }
    moves(first, other.spacing, other.directions)
        .then(|| ("ImageOrientationPatient", format!("{:?}", flat(other)), format!("{:?}", flat(first))))
}

/// True if a corner of the slice lies elsewhere with these spacings and directions.
fn moves(slice: &Slice, spacing: [f64; 2], directions: [[f64; 3]; 2]) -> bool {
    let [columns, rows] = slice.extents.map(|extent| extent as f64);
    let corner = |i: f64, j: f64, spacing: [f64; 2], [x, y]: [[f64; 3]; 2]| -> [f64; 3] {
        std::array::from_fn(|axis| i * spacing[0] * x[axis] + j * spacing[1] * y[axis])
    };
    let tolerance = SAME_GRID_TOLERANCE * slice.spacing[0].min(slice.spacing[1]);
    [(columns, 0.0), (0.0, rows), (columns, rows)].into_iter().any(|(i, j)| {
        let here = corner(i, j, slice.spacing, slice.directions);
        let there = corner(i, j, spacing, directions);
        distance(here, there) > tolerance
    })
}

/// The way from one slice to the next in LPS, mm, of slices that are sorted along `normal`, with a warning where distances are
/// not even; or what keeps them from having one.
pub(super) fn step_of(slices: &[Slice], normal: [f64; 3]) -> Result<([f64; 3], Option<Warning>), String> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    if slices.len() == 1 {
        return Ok((normal.map(|cosine| cosine * first.thickness.unwrap_or(1.0)), None));
    }
    let intervals = (slices.len() - 1) as f64;
    let step: [f64; 3] = std::array::from_fn(|axis| (last.position[axis] - first.position[axis]) / intervals);
    let (length, rise) = (distance(step, [0.0; 3]), dot(step, normal));
    // The part of a voxel by which a slice is off its place, along the slices and in their plane.
    let off = |index: usize, slice: &Slice| -> [f64; 2] {
        let way: [f64; 3] =
            std::array::from_fn(|axis| slice.position[axis] - first.position[axis] - step[axis] * index as f64);
        let along = dot(way, normal) / rise;
        let across = (0..2).map(|axis| (dot(way, first.directions[axis]) / first.spacing[axis]).abs());
        [along.abs(), across.fold(0.0, f64::max)]
    };
    let offs = || slices.iter().enumerate().map(|(index, slice)| (off(index, slice), slice));
    // Not `>`: slices that all lie at one place have a step of 0.
    if !offs().all(|([along, _], _)| along < OFF_PLACE) {
        return Err(uneven(slices, length));
    }
    if let Some(([_, across], slice)) = offs().find(|([_, across], _)| *across >= OFF_PLACE) {
        return Err(format!("{} is {across:.2} pixels beside the line of the slices", slice.name()));
    }
    let worst = gaps(slices).map(|gap| (gap - length).abs()).fold(0.0, f64::max);
    let warning = (worst > UNEVEN * length).then(|| {
        let detail = format!("{worst:.4} mm off the mean of {length:.4} mm, which is taken");
        Warning::with("slices are not evenly spaced", detail)
    });
    Ok((step, warning))
}

/// Names the two neighbours whose distance is least like the mean.
fn uneven(slices: &[Slice], mean: f64) -> String {
    let unlike = |gap: f64| (gap - mean).abs();
    let (worst, gap) =
        gaps(slices).enumerate().max_by(|a, b| unlike(a.1).total_cmp(&unlike(b.1))).expect("two slices or more");
    let [before, after] = [worst, worst + 1].map(|index| slices[index].name());
    format!("{} slices are {mean:.3} mm apart on average, but {after} is {gap:.3} mm from {before}", slices.len())
}

/// The distances of neighbours, mm.
fn gaps(slices: &[Slice]) -> impl Iterator<Item = f64> {
    slices.windows(2).map(|pair| distance(pair[0].position, pair[1].position))
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| a[axis] * b[axis]).sum()
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt()
}
