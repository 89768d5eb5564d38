//! Writing NIfTI files: the header of another file or a new one, and voxels of any real type.

use std::path::Path;

use super::affine;
use super::header::{Field, RawHeader, Version};
use super::{TYPE_CODES, UNIT_MILLIMETRE, files_of};
use crate::data::DataError;
use crate::data::io::Header;
use crate::data::io::bytes::{ByteOrder, write_whole};
use crate::data::io::scalar::Scalar;
use crate::data::volume::Grid;

/// The largest extent in a NIfTI-1 header, whose `dim` has 16 bits.
const LARGEST_EXTENT_ONE: usize = 32767;

/// A new header for a grid; see [`Header::for_grid`].
pub(crate) fn header_for_grid(grid: &Grid) -> Header {
    let fits = grid.extents.iter().all(|&extent| extent <= LARGEST_EXTENT_ONE);
    let version = if fits { Version::One } else { Version::Two };
    let mut raw = RawHeader::new(version, ByteOrder::Little);
    affine::store(&mut raw, grid);
    raw.set_integer(Field::XyztUnits, 0, UNIT_MILLIMETRE);
    // The affine that a reader of the file will see, rounded as the header rounds it.
    let shape = grid.extents.to_vec();
    let (affine, spacing) = (affine::best(&raw, &shape), affine::spacing(&raw));
    Header {
        shape,
        scalar: Scalar::Float32,
        byte_order: raw.order,
        scaling: None,
        spacing,
        affine,
        warnings: Vec::new(),
        native: raw,
    }
}

/// Writes voxels (x fastest) with the geometry of `like`.
pub(crate) fn write<T: Copy + Into<f64>>(
    path: &Path,
    like: &Header,
    scalar: Scalar,
    voxels: &[T],
) -> Result<(), DataError> {
    let expected = like.shape.iter().product();
    if voxels.len() != expected {
        let shape = like.shape.clone();
        return Err(DataError::VoxelCount { path: path.to_path_buf(), voxels: voxels.len(), expected, shape });
    }
    let stored = encode(voxels, scalar, like.byte_order).map_err(|value| DataError::Unwritable {
        path: path.to_path_buf(),
        value,
        dtype: scalar.name(),
    })?;
    let (header_file, voxel_file) = files_of(path);
    let single = header_file == voxel_file;
    let raw = header_of_output(like, scalar, single);
    let is_gzip = |file: &Path| file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    if single {
        // Four zero bytes: no extensions follow.
        return write_whole(path, &[raw.bytes(), &[0; 4], &stored], is_gzip(path));
    }
    // The header last: a pair without its header is no volume, so a reader never sees half of it.
    write_whole(&voxel_file, &[&stored], is_gzip(&voxel_file))?;
    write_whole(&header_file, &[raw.bytes(), &[0; 4]], is_gzip(&header_file))
}

/// The header of `like` with everything that describes its voxels replaced.
fn header_of_output(like: &Header, scalar: Scalar, single: bool) -> RawHeader {
    let mut raw = like.native.clone();
    let code = TYPE_CODES.iter().find(|(_, known)| *known == scalar).expect("every type has a code").0;
    raw.set_magic(single);
    raw.set_integer(Field::Dim, 0, like.shape.len() as i64);
    for index in 0..7 {
        raw.set_integer(Field::Dim, index + 1, like.shape.get(index).copied().unwrap_or(1) as i64);
    }
    raw.set_integer(Field::Datatype, 0, code);
    raw.set_integer(Field::Bitpix, 0, 8 * scalar.bytes() as i64);
    raw.set_integer(Field::VoxOffset, 0, if single { raw.version.first_voxel() as i64 } else { 0 });
    raw.set_float(Field::SclSlope, 0, 1.0);
    for field in [Field::SclInter, Field::CalMin, Field::CalMax] {
        raw.set_float(field, 0, 0.0);
    }
    raw
}

/// The voxels as bytes, or the first value that the type cannot hold.
fn encode<T: Copy + Into<f64>>(voxels: &[T], scalar: Scalar, order: ByteOrder) -> Result<Vec<u8>, f64> {
    let mut bytes = Vec::with_capacity(voxels.len() * scalar.bytes());
    macro_rules! all {
        ($type:ty, $convert:expr) => {
            for &voxel in voxels {
                let value: f64 = voxel.into();
                let convert: fn(f64) -> Option<$type> = $convert;
                let stored = convert(value).ok_or(value)?;
                match order {
                    ByteOrder::Little => bytes.extend_from_slice(&stored.to_le_bytes()),
                    ByteOrder::Big => bytes.extend_from_slice(&stored.to_be_bytes()),
                }
            }
        };
        (integer $type:ty) => {
            all!($type, |value| {
                let whole = value.round();
                // The upper bound is exclusive, because 2^63 and 2^64 are floats but their
                // predecessors are not.
                let inside = whole >= <$type>::MIN as f64 && whole < <$type>::MAX as f64 + 1.0;
                inside.then_some(whole as $type)
            })
        };
    }
    match scalar {
        Scalar::Uint8 => all!(integer u8),
        Scalar::Int8 => all!(integer i8),
        Scalar::Uint16 => all!(integer u16),
        Scalar::Int16 => all!(integer i16),
        Scalar::Uint32 => all!(integer u32),
        Scalar::Int32 => all!(integer i32),
        Scalar::Uint64 => all!(integer u64),
        Scalar::Int64 => all!(integer i64),
        Scalar::Float32 => all!(f32, |value| Some(value as f32)),
        Scalar::Float64 => all!(f64, Some),
        _ => return voxels.first().map_or(Ok(bytes), |&voxel| Err(voxel.into())),
    }
    Ok(bytes)
}
