//! A DICOM series: a folder whose files are the slices of one volume.
//!
//! Slices are sorted along the normal of `ImageOrientationPatient` by `ImagePositionPatient`; file names and instance
//! numbers do not matter. With the first pixel of slice k at P_k, columns along X and rows along Y (LPS):
//!
//! ```text
//! lps = P_0 + i · PixelSpacing[1] · X + j · PixelSpacing[0] · Y + k · (P_last - P_0) / (slices - 1)
//! ```
//!
//! The spacing of the slices is that of their positions, not `SliceThickness`; with a tilted gantry the third axis is
//! oblique to the slices. Positions that are not evenly spaced (a missing or doubled slice), slices of different size,
//! orientation or spacing, and several series in one folder are errors. Intensities are stored · `RescaleSlope` +
//! `RescaleIntercept`, per slice; windows and lookup tables for display are not applied.
//!
//! Read: files with a preamble, one frame, one sample per pixel of 8 or 16 bits, uncompressed, deflated, RLE or JPEG
//! (baseline, extended, lossless). Not read: JPEG 2000, JPEG-LS, files of several frames. Other files of the folder
//! (without a preamble) and `DICOMDIR` are passed over.

mod elements;
mod pixels;
mod rle;
mod slice;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::slice::Slice;
use super::bytes::ByteOrder;
use super::input::{Input, Packing};
use super::metaimage::ras_from_lps;
use super::scalar::{Encoding, Scalar};
use super::{Header, Native, axes, ending_of};
use crate::data::{DataError, Warning};

/// A position may be off an even spacing by this part of it: positions are rounded to as little as 0.01 mm.
const POSITION_TOLERANCE: f64 = 0.02;
/// Slopes and spacings are equal within this part: decimal strings have up to 16 digits.
const EQUAL: f64 = 1e-6;

/// The slices in order.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    slices: Vec<Slice>,
}

/// True if a file of the folder begins as DICOM files do.
pub(super) fn is_series(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| is_slice(&e.path()))))
}

/// `DICM` behind 128 bytes of preamble.
fn is_slice(path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return false };
    if name.starts_with('.') || name.eq_ignore_ascii_case("DICOMDIR") || ending_of(&name).is_some() || !path.is_file() {
        return false;
    }
    Input::file(path).start(132, Packing::Plain).is_ok_and(|start| start.get(128..) == Some(b"DICM"))
}

/// Reads the headers of all files and checks that they make a volume.
pub(super) fn read_header(input: Input<'_>) -> Result<Header, DataError> {
    let dir = input.path;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(DataError::io(dir, "list"))? {
        let path = entry.map_err(DataError::io(dir, "list"))?.path();
        if is_slice(&path) {
            files.push(path);
        }
    }
    // The folder is listed in no order, messages are not to depend on it.
    files.sort();
    let slices = files.par_iter().map(|path| Slice::read(Input::file(path))).collect::<Result<Vec<_>, _>>()?;
    header_of(dir, slices)
}

/// The header of a series of one file.
pub(super) fn read_header_of_file(input: Input<'_>) -> Result<Header, DataError> {
    header_of(input.path, vec![Slice::read(input)?])
}

fn header_of(dir: &Path, mut slices: Vec<Slice>) -> Result<Header, DataError> {
    let wrong =
        |problem: String, expected: &'static str| DataError::Series { dir: dir.to_path_buf(), problem, expected };
    let Some(first) = slices.first().cloned() else {
        return Err(wrong("holds no DICOM files".into(), "a file of a known format, or the slices of one series"));
    };
    for slice in &slices[1..] {
        if let Some((what, found, before)) = difference(&first, slice) {
            let (file, other) = (name_of(&slice.path), name_of(&first.path));
            let problem = format!("{what} of {file} is {found} and of {other} {before}");
            return Err(wrong(problem, "the slices of one series, equal in all but their position"));
        }
    }
    let [x, y] = first.directions;
    let normal = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
    let along = |slice: &Slice| (0..3).map(|axis| slice.position[axis] * normal[axis]).sum::<f64>();
    slices.sort_by(|a, b| along(a).total_cmp(&along(b)).then_with(|| a.path.cmp(&b.path)));
    let step =
        step_of(&slices, normal).map_err(|problem| wrong(problem, "evenly spaced slices, none missing or doubled"))?;

    let mut lps = [[0.0; 4]; 3];
    for (row, values) in lps.iter_mut().enumerate() {
        *values = [x[row] * first.spacing[0], y[row] * first.spacing[1], step[row], slices[0].position[row]];
    }
    let affine = ras_from_lps(lps);
    let spacing = [first.spacing[0], first.spacing[1], axes::column_lengths(&affine)[2]];
    let shape = vec![first.extents[0], first.extents[1], slices.len()];
    let mut warnings = axes::warnings_of(&affine, spacing, 3);
    let upright = (0..3).map(|axis| step[axis] * normal[axis]).sum::<f64>() / spacing[2];
    if upright < 0.9998 {
        let detail = format!("gantry tilt of {:.1}°", upright.acos().to_degrees());
        warnings.push(Warning::with("slices are shifted against each other", detail));
    }
    if slices.len() == 1 && first.thickness.is_none() {
        let kind = "one slice without SpacingBetweenSlices and SliceThickness: taken as 1 mm";
        warnings.push(Warning::new(kind));
    }
    let scaled = slices.iter().any(|slice| slice.scaling != first.scaling);
    let identity = first.scaling.slope == 1.0 && first.scaling.intercept == 0.0;
    Ok(Header {
        shape,
        // Where every slice has a scaling of its own, numbers are scaled as they are read.
        scalar: if scaled { Scalar::Float64 } else { first.scalar },
        byte_order: ByteOrder::Little,
        scaling: (!scaled && !identity).then_some(first.scaling),
        spacing,
        affine,
        warnings,
        native: Native::Dicom(Series { slices }),
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What keeps two slices from being of one volume: the attribute, and its values.
fn difference(first: &Slice, other: &Slice) -> Option<(&'static str, String, String)> {
    let close = |a: &[f64], b: &[f64], tolerance: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance);
    let flat = |slice: &Slice| slice.directions.concat();
    if first.series != other.series {
        return Some(("SeriesInstanceUID", other.series.clone(), first.series.clone()));
    }
    if first.extents != other.extents {
        return Some(("size", format!("{:?}", other.extents), format!("{:?}", first.extents)));
    }
    if !close(&first.spacing, &other.spacing, EQUAL * first.spacing[0]) {
        return Some(("PixelSpacing", format!("{:?}", other.spacing), format!("{:?}", first.spacing)));
    }
    if !close(&flat(first), &flat(other), 1e-4) {
        return Some(("ImageOrientationPatient", format!("{:?}", flat(other)), format!("{:?}", flat(first))));
    }
    (first.scalar != other.scalar).then(|| ("type", other.scalar.name().into(), first.scalar.name().into()))
}

/// The way from one slice to the next in LPS, mm.
fn step_of(slices: &[Slice], normal: [f64; 3]) -> Result<[f64; 3], String> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    if slices.len() == 1 {
        return Ok(normal.map(|cosine| cosine * first.thickness.unwrap_or(1.0)));
    }
    let intervals = (slices.len() - 1) as f64;
    let step: [f64; 3] = std::array::from_fn(|axis| (last.position[axis] - first.position[axis]) / intervals);
    let distance = |a: [f64; 3], b: [f64; 3]| (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt();
    let length = distance(step, [0.0; 3]);
    let off = |(index, slice): (usize, &Slice)| {
        let even = std::array::from_fn(|axis| first.position[axis] + step[axis] * index as f64);
        distance(slice.position, even)
    };
    // Not `>`: slices that all lie at one place have a step of 0.
    if slices.iter().enumerate().all(|slice| off(slice) < POSITION_TOLERANCE * length) {
        return Ok(step);
    }
    let gap = |pair: &[Slice]| distance(pair[0].position, pair[1].position);
    let unlike = |pair: &&[Slice]| (gap(pair) - length).abs();
    let worst = slices.windows(2).max_by(|a, b| unlike(a).total_cmp(&unlike(b))).expect("two slices or more");
    Err(format!(
        "{} slices are {length:.3} mm apart on average, but {} is {:.3} mm from {}",
        slices.len(),
        name_of(&worst[1].path),
        gap(worst),
        name_of(&worst[0].path)
    ))
}

/// Calls `each` with the voxels of all slices, one slice in memory at a time.
pub(super) fn visit(input: Input<'_>, series: &Series, mut each: impl FnMut(f64)) -> Result<(), DataError> {
    for slice in &series.slices {
        let (scalar, scaling) = (slice.scalar, Some(slice.scaling));
        Encoding { scalar, order: ByteOrder::Little, scaling }.visit(&slice.pixels(input)?, &mut each);
    }
    Ok(())
}
