//! The types a voxel can have in a file, and their decoding.

use super::bytes::ByteOrder;

/// The type of a voxel in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Unsigned 8-bit integer.
    Uint8,
    /// Signed 8-bit integer.
    Int8,
    /// Unsigned 16-bit integer.
    Uint16,
    /// Signed 16-bit integer.
    Int16,
    /// Unsigned 32-bit integer.
    Uint32,
    /// Signed 32-bit integer.
    Int32,
    /// Unsigned 64-bit integer.
    Uint64,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE 754 single precision.
    Float32,
    /// IEEE 754 double precision.
    Float64,
    /// 16 bytes, whose meaning differs between platforms (IEEE quadruple or x87 extended); never
    /// decoded.
    Float128,
    /// Two float32.
    Complex64,
    /// Two float64.
    Complex128,
    /// Two float128.
    Complex256,
    /// Three uint8: red, green, blue.
    Rgb24,
    /// Four uint8: red, green, blue, alpha.
    Rgba32,
}

impl Scalar {
    /// Name, bytes, and whether a voxel is one real number, in the order of the types.
    const TABLE: [(&'static str, usize, bool); 16] = [
        ("uint8", 1, true),
        ("int8", 1, true),
        ("uint16", 2, true),
        ("int16", 2, true),
        ("uint32", 4, true),
        ("int32", 4, true),
        ("uint64", 8, true),
        ("int64", 8, true),
        ("float32", 4, true),
        ("float64", 8, true),
        ("float128", 16, false),
        ("complex64", 8, false),
        ("complex128", 16, false),
        ("complex256", 32, false),
        ("rgb24", 3, false),
        ("rgba32", 4, false),
    ];

    /// Name as in numpy; `rgb24` and `rgba32` for colours.
    pub fn name(self) -> &'static str {
        Self::TABLE[self as usize].0
    }

    /// Bytes per voxel.
    pub fn bytes(self) -> usize {
        Self::TABLE[self as usize].1
    }

    /// True if a voxel is one real number that the reader decodes.
    pub fn is_real(self) -> bool {
        Self::TABLE[self as usize].2
    }

    /// True for float32 and float64.
    pub fn is_float(self) -> bool {
        matches!(self, Scalar::Float32 | Scalar::Float64)
    }
}

/// Expands the macro `$run` with the Rust type of a scalar; `$otherwise` where a voxel is not one real number.
macro_rules! for_real_type {
    ($scalar:expr, $run:ident, $otherwise:expr) => {
        match $scalar {
            Scalar::Uint8 => $run!(u8),
            Scalar::Int8 => $run!(i8),
            Scalar::Uint16 => $run!(u16),
            Scalar::Int16 => $run!(i16),
            Scalar::Uint32 => $run!(u32),
            Scalar::Int32 => $run!(i32),
            Scalar::Uint64 => $run!(u64),
            Scalar::Int64 => $run!(i64),
            Scalar::Float32 => $run!(f32),
            Scalar::Float64 => $run!(f64),
            _ => $otherwise,
        }
    };
}
pub(super) use for_real_type;

/// Value = slope · stored + intercept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Factor, neither zero nor infinite.
    pub slope: f64,
    /// Summand.
    pub intercept: f64,
}

/// How voxels are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    pub(crate) scalar: Scalar,
    pub(crate) order: ByteOrder,
    pub(crate) scaling: Option<Scaling>,
}

impl Encoding {
    /// Calls `each` with every voxel of `bytes` in order, scaled, as f64 (exact for all types but 64-bit
    /// integers beyond 2^53).
    ///
    /// The type must be real: see [`Scalar::is_real`].
    pub(crate) fn visit(&self, bytes: &[u8], mut each: impl FnMut(f64)) {
        macro_rules! all {
            ($type:ty) => {{
                const SIZE: usize = std::mem::size_of::<$type>();
                let (chunks, _) = bytes.as_chunks::<SIZE>();
                let little = self.order == ByteOrder::Little;
                let stored = chunks
                    .iter()
                    .map(|chunk| if little { <$type>::from_le_bytes(*chunk) } else { <$type>::from_be_bytes(*chunk) });
                match self.scaling {
                    None => stored.for_each(|value| each(value as f64)),
                    Some(Scaling { slope, intercept }) => {
                        stored.for_each(|value| each(value as f64 * slope + intercept));
                    }
                }
            }};
        }
        for_real_type!(self.scalar, all, unreachable!("callers check is_real, got {}", self.scalar.name()));
    }
}
