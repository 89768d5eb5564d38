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
//! oblique to the slices. Slices that are not evenly spaced (one missing or doubled), of different size, orientation or spacing,
//! are errors; `geometry` has the tolerances. Intensities are stored · `RescaleSlope` +
//! `RescaleIntercept`; scaling and type may differ between slices. Windows and lookup tables for display are not applied.
//!
//! Files are recognised by their content, not by their names (`start`), also without preamble or file meta information.
//! Read: one sample per pixel of 8 or 16 bits, uncompressed, deflated, RLE, JPEG (baseline, extended, lossless) or JPEG-LS.
//! A file holds a slice, or frames with functional groups (enhanced MR, CT, PET), which are slices each with a place of its
//! own (`frames`); such a file may also be given without its folder. Of several series in a folder, and of several stacks, times
//! or echoes in a series of such files, one is chosen ([`SeriesChoice`](super::SeriesChoice)). What else lies in the folder is left out with a warning:
//! objects that are no images of the series (contours, reports, presentation states, segmentations, doses), empty files, git-lfs
//! pointers, folders; `DICOMDIR`, hidden files and descriptions (`.txt`, `.json`, …) without one.

mod attributes;
mod dataset;
mod elements;
mod files;
mod fragments;
mod frames;
mod geometry;
mod jpeg_ls;
mod pixels;
mod rle;
mod series;
mod slice;
mod start;

use std::path::Path;
use std::sync::Arc;

use self::dataset::DataSet;
use self::files::Files;
use self::pixels::Pixels;
use self::slice::{Object, Slice};
use super::bytes::ByteOrder;
use super::format::{Format, SeriesFormat};
use super::input::Input;
use super::scalar::{Encoding, Scalar};
use super::{Header, Native, Pieces, axes};
use crate::data::{DataError, Warning};

/// The format.
pub(super) struct Dicom;

impl Format for Dicom {
    fn name(&self) -> &'static str {
        "DICOM"
    }

    fn series(&self) -> Option<&dyn SeriesFormat> {
        Some(self)
    }

    fn read_header(&self, input: Input<'_>) -> Result<Header, DataError> {
        let no_slices = |problem: String| {
            let expected = "expected a file of a known format, or the slices of one series";
            DataError::unusable(input.path, format!("{problem}, {expected}"))
        };
        if input.is_memory() || !input.path.is_dir() {
            return match Object::read(input).map_err(|(_, error)| error)? {
                // Bytes in memory are a series of one file.
                Object::Slices(slices) if input.is_memory() || slices[0].place.frames > 1 => {
                    let volume = series::choose(series::volumes(slices, Vec::new()), input.series);
                    header_of(input.path, volume.map_err(|problem| ambiguous(input.path, problem))?.slices)
                }
                Object::Slices(_) => {
                    let problem = "is a slice of a DICOM series, expected the folder of the series";
                    Err(DataError::unusable(input.path, problem))
                }
                Object::Other(kind) => Err(no_slices(format!("is no image ({kind})"))),
            };
        }
        let mut files = Files::read(input.path)?;
        let mut warnings = files.warnings();
        let (slices, unread) = (std::mem::take(&mut files.slices), std::mem::take(&mut files.unread));
        let volumes = series::volumes(slices, unread);
        if volumes.is_empty() {
            return Err(no_slices(files.without_slices(input.path)));
        }
        let volume = series::choose(volumes, input.series).map_err(|problem| ambiguous(input.path, problem))?;
        if !volume.unread.is_empty() {
            return Err(files.problem(input.path, volume.unread));
        }
        let mut header = header_of(input.path, volume.slices)?;
        warnings.append(&mut header.warnings);
        Ok(Header { warnings, ..header })
    }
}

/// The error of a path where not one series is meant.
fn ambiguous(path: &Path, problem: String) -> DataError {
    let expected = "expected one, or a choice by UID, description or number, or the largest (--series, data.series)";
    DataError::unusable(path, format!("{problem}; {expected}"))
}

/// The slices in order.
#[derive(Clone, Debug)]
struct Series(Vec<Slice>);

/// The header of one slice or more.
fn header_of(dir: &Path, mut slices: Vec<Slice>) -> Result<Header, DataError> {
    let wrong = |problem: String, expected: &str| DataError::unusable(dir, format!("{problem}, expected {expected}"));
    geometry::check_alike(&slices)
        .map_err(|problem| wrong(problem, "the slices of one series, equal in all but their position"))?;
    let normal = geometry::sort(&mut slices);
    let (step, warning) = geometry::step_of(&slices, normal)
        .map_err(|problem| wrong(problem, "evenly spaced slices, none missing or doubled"))?;
    let first = &slices[0];
    let [x, y] = first.directions;
    let mut lps = [[0.0; 4]; 3];
    for (row, values) in lps.iter_mut().enumerate() {
        *values = [x[row] * first.spacing[0], y[row] * first.spacing[1], step[row], first.position[row]];
    }
    let affine = axes::ras_from_lps(lps);
    if !axes::is_regular(&affine) {
        return Err(wrong("slices lie beside each other in one plane".into(), "slices above each other"));
    }
    let spacing = [first.spacing[0], first.spacing[1], axes::column_lengths(&affine)[2]];
    let mut warnings = axes::warnings_of(&affine, spacing, 3);
    warnings.extend(warning);
    warnings.extend(geometry::tilt(step, normal));
    if slices.len() == 1 && first.thickness.is_none() {
        let kind = "one slice without SpacingBetweenSlices and SliceThickness: taken as 1 mm";
        warnings.push(Warning::new(kind));
    }
    let scaled = slices.iter().any(|slice| slice.scaling != first.scaling);
    let alike = slices.iter().all(|slice| slice.scalar == first.scalar);
    // A type that holds the numbers of all: a series may mix signed and unsigned ones.
    let scalar = if alike { first.scalar } else { Scalar::Int32 };
    let identity = first.scaling.slope == 1.0 && first.scaling.intercept == 0.0;
    Ok(Header {
        shape: vec![first.extents[0], first.extents[1], slices.len()],
        interleaved: false,
        // Where scaling differs between slices, numbers are scaled as they are read.
        scalar: if scaled { Scalar::Float64 } else { scalar },
        byte_order: ByteOrder::Little,
        scaling: (!scaled && !identity).then_some(first.scaling),
        spacing,
        affine,
        warnings,
        native: Arc::new(Series(slices)),
    })
}

impl Native for Series {
    /// One file in memory at a time, and one of its frames.
    fn visit(&self, input: Input<'_>, _: &Header, each: Pieces<'_>) -> Result<(), DataError> {
        for of_file in self.0.chunk_by(|a, b| a.place.path == b.place.path) {
            let path = &of_file[0].place.path;
            let (bytes, _alone) = slice::whole(input.beside(path), of_file[0].bytes_of_file())?;
            let file = DataSet::read(path, &bytes)?;
            let pixels = Pixels::of(path, &file, of_file[0].place.frames)?;
            for slice in of_file {
                let cells = pixels.frame(slice.place.frame, slice.extents, slice.scalar.bytes())?;
                let (scalar, scaling) = (slice.scalar, Some(slice.scaling));
                each(&slice.samples(&cells), Encoding { scalar, order: ByteOrder::Little, scaling })?;
            }
        }
        Ok(())
    }
}
