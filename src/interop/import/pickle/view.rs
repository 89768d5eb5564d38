//! Tensors of a pickle: views of storages.

use crate::nn::model::Tensor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Double,
    Half,
    BFloat,
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("FloatStorage") => Self::Float,
            Some("DoubleStorage") => Self::Double,
            Some("HalfStorage") => Self::Half,
            Some("BFloat16Storage") => Self::BFloat,
            _ => Self::Other,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Double => 8,
            Self::Float => 4,
            _ => 2,
        }
    }

    /// An element as float32.
    fn read(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::Float, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::Double, bytes) => bytes.try_into().map_or(f32::NAN, |bytes| f64::from_le_bytes(bytes) as f32),
            (Self::BFloat, &[a, b]) => f32::from_le_bytes([0, 0, a, b]),
            (Self::Half, &[a, b]) => half(u16::from_le_bytes([a, b])),
            _ => f32::NAN,
        }
    }
}

/// A float of 16 bits: sign, five bits of exponent, ten of mantissa.
fn half(bits: u16) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        exponent => (1.0 + mantissa / 1024.0) * 2f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

impl View {
    /// The elements, last axis fastest; `None` where the storage ends before.
    pub(super) fn tensor(&self, storage: &[u8]) -> Option<Tensor> {
        let size = self.kind.bytes();
        let elements = self.shape.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent))?;
        // A view may repeat elements, but a network's parameters do not.
        if elements > storage.len() / size || self.strides.len() != self.shape.len() {
            return None;
        }
        let mut data = Vec::with_capacity(elements);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..elements {
            let steps =
                index.iter().zip(&self.strides).try_fold(self.offset, |sum, (&i, &stride): (&usize, &usize)| {
                    sum.checked_add(i.checked_mul(stride)?)
                })?;
            let start = steps.checked_mul(size)?;
            data.push(self.kind.read(storage.get(start..start.checked_add(size)?)?));
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Some(Tensor { shape: self.shape.clone(), data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0x7bff, 65504.0)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }
}
