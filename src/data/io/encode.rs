//! From numbers to the bytes of a file.

use super::Header;
use super::bytes::ByteOrder;
use super::scalar::Scalar;
use crate::data::DataError;
use std::path::Path;

/// The voxels that go into `path` as bytes: as many as `like` asks for, all within the type's range.
pub(super) fn encode_all<T: Copy + Into<f64>>(
    path: &Path,
    like: &Header,
    voxels: &[T],
    scalar: Scalar,
    order: ByteOrder,
) -> Result<Vec<u8>, DataError> {
    let expected = like.shape.iter().product();
    if voxels.len() != expected {
        let (path, shape) = (path.to_path_buf(), like.shape.clone());
        return Err(DataError::VoxelCount { path, voxels: voxels.len(), expected, shape });
    }
    encode(voxels, scalar, order).map_err(|value| DataError::Unwritable {
        path: path.to_path_buf(),
        value,
        dtype: scalar.name(),
    })
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
