use super::{DType, TensorSpec};

/// A tensor in host memory, held in f64 whatever its device type: 32-bit integers and floats are exact in it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Shape and device element type.
    pub spec: TensorSpec,
    /// Elements in row-major order (last axis fastest).
    pub data: Vec<f64>,
}

impl HostTensor {
    /// A tensor from its elements.
    ///
    /// # Panics
    /// When the number of elements is not that of the shape.
    pub fn new(spec: TensorSpec, data: Vec<f64>) -> Self {
        assert_eq!(spec.elements(), data.len(), "element count of {spec}");
        Self { spec, data }
    }

    /// A tensor of zeros.
    pub fn zeros(spec: TensorSpec) -> Self {
        let data = vec![0.0; spec.elements()];
        Self { spec, data }
    }

    /// An f32 tensor with element `i` equal to `f(i)`.
    pub fn from_fn(shape: impl Into<Vec<usize>>, f: impl FnMut(usize) -> f64) -> Self {
        let spec = TensorSpec::f32(shape);
        let data = (0..spec.elements()).map(f).collect();
        Self { spec, data }
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    /// The bytes that the device holds for this tensor.
    pub fn to_device_bytes(&self) -> Vec<u8> {
        match self.spec.dtype {
            DType::F32 => self.data.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            DType::U32 => self.data.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect(),
        }
    }

    /// The tensor whose elements are these bytes of the device.
    ///
    /// # Panics
    /// When the number of bytes is not that of the spec.
    pub fn from_device_bytes(spec: TensorSpec, bytes: &[u8]) -> Self {
        let words = bytes.as_chunks::<4>().0;
        let data = match spec.dtype {
            DType::F32 => words.iter().map(|&w| f64::from(f32::from_le_bytes(w))).collect(),
            DType::U32 => words.iter().map(|&w| f64::from(u32::from_le_bytes(w))).collect(),
        };
        Self::new(spec, data)
    }

    /// Largest absolute element; 0 for an empty tensor.
    pub fn max_abs(&self) -> f64 {
        self.data.iter().fold(0.0, |m, x| m.max(x.abs()))
    }
}
