//! Writing NIfTI files: the header of another file or a new one, and voxels of any real type.

use std::path::Path;
use std::sync::Arc;

use super::affine;
use super::header::{Field, RawHeader, Version};
use super::{TYPE_CODES, UNIT_MILLIMETRE, files_of};
use crate::data::DataError;
use crate::data::io::bytes::{ByteOrder, write_whole};
use crate::data::io::scalar::Scalar;
use crate::data::io::{Header, Output, axes};
use crate::data::volume::Grid;

/// The largest extent in a NIfTI-1 header, whose `dim` has 16 bits.
const LARGEST_EXTENT_ONE: usize = 32767;

/// A new header for a grid; see [`Header::for_grid`].
pub(in crate::data::io) fn header_for_grid(grid: &Grid) -> Header {
    let raw = new_header(&grid.extents, grid);
    // The affine that a reader of the file will see, rounded as the header rounds it.
    let shape = grid.extents.to_vec();
    let affine = affine::best(&raw, &shape);
    let spacing = axes::spacing_of(&affine, affine::spacing(&raw), shape.len());
    Header {
        shape,
        interleaved: false,
        scalar: Scalar::Float32,
        byte_order: raw.order,
        scaling: None,
        spacing,
        affine,
        warnings: Vec::new(),
        native: Arc::new(raw),
    }
}

/// A header for a shape with the spacing and affine of a grid.
fn new_header(shape: &[usize], geometry: &Grid) -> RawHeader {
    let fits = shape.iter().all(|&extent| extent <= LARGEST_EXTENT_ONE);
    let version = if fits { Version::One } else { Version::Two };
    let mut raw = RawHeader::new(version, ByteOrder::Little);
    affine::store(&mut raw, geometry);
    raw.set_integer(Field::XYZT_UNITS, 0, UNIT_MILLIMETRE);
    raw
}

/// Writes a volume.
pub(super) fn write(output: &Output<'_>) -> Result<(), DataError> {
    let (header_file, voxel_file) = files_of(output.path);
    let single = header_file == voxel_file;
    let raw = header_of_output(output, single);
    let stored = output.encoded(raw.order)?;
    let is_gzip = |file: &Path| file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    if single {
        // Four zero bytes: no extensions follow.
        return write_whole(output.path, &[raw.bytes(), &[0; 4], &stored], is_gzip(output.path));
    }
    // The header last: a pair without its header is no volume, so a reader never sees half of it.
    write_whole(&voxel_file, &[&stored], is_gzip(&voxel_file))?;
    write_whole(&header_file, &[raw.bytes(), &[0; 4]], is_gzip(&header_file))
}

/// The header of `like` with everything that describes its voxels replaced.
fn header_of_output(output: &Output<'_>, single: bool) -> RawHeader {
    let (like, scalar, shape) = (output.like, output.scalar, output.shape());
    let mut raw = match like.native_as::<RawHeader>() {
        Some(raw) => affine::reconciled(raw, shape),
        None => new_header(shape, &Grid { extents: [1; 3], spacing: like.spacing, affine: like.affine }),
    };
    let code = TYPE_CODES.iter().find(|(_, known)| *known == scalar).expect("every type has a code").0;
    raw.set_magic(single);
    let has_channels = raw.integer(Field::DIM, 0) > shape.len() as i64;
    raw.set_integer(Field::DIM, 0, shape.len() as i64);
    for index in 0..7 {
        raw.set_integer(Field::DIM, index + 1, shape.get(index).copied().unwrap_or(1) as i64);
    }
    if has_channels {
        // What the channels were (a vector, a tensor) the output is not.
        raw.set_integer(Field::INTENT_CODE, 0, 0);
    }
    raw.set_integer(Field::DATATYPE, 0, code);
    raw.set_integer(Field::BITPIX, 0, 8 * scalar.bytes() as i64);
    raw.set_integer(Field::VOX_OFFSET, 0, if single { raw.version.first_voxel() as i64 } else { 0 });
    raw.set_float(Field::SCL_SLOPE, 0, 1.0);
    for field in [Field::SCL_INTER, Field::CAL_MIN, Field::CAL_MAX] {
        raw.set_float(field, 0, 0.0);
    }
    if let Some(map) = output.map {
        raw.set_description(map.as_bytes());
    } else if like.is_probability() {
        // What was made of probabilities is none.
        raw.set_description(&[]);
    }
    raw
}
