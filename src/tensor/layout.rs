//! Axis orders: the device's (channels innermost) and PyTorch's (`[N, C, D, H, W]`, `[Cout, Cin, kD, kH, kW]`).

/// Permutes the axes of a row-major array: axis `i` of the result is axis `axes[i]` of the input.
///
/// # Panics
/// When `axes` is not a permutation of the axes of `shape`, or `data` has another length than `shape` says.
pub fn permute<T: Copy>(data: &[T], shape: &[usize], axes: &[usize]) -> Vec<T> {
    assert_eq!(data.len(), shape.iter().product::<usize>(), "element count");
    assert_eq!(axes.len(), shape.len(), "number of axes");
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let extents: Vec<usize> = axes.iter().map(|&a| shape[a]).collect();
    let steps: Vec<usize> = axes.iter().map(|&a| strides[a]).collect();
    let mut index = vec![0; axes.len()];
    let mut source = 0;
    let mut result = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        result.push(data[source]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            source += steps[axis];
            if index[axis] < extents[axis] {
                break;
            }
            source -= steps[axis] * extents[axis];
            index[axis] = 0;
        }
    }
    result
}

/// How a parameter is laid out in PyTorch, relative to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterLayout {
    /// One axis: biases and PReLU slopes, the same on both sides.
    Vector,
    /// Device `[kD, kH, kW, Cin, Cout]`, PyTorch Conv3d `[Cout, Cin, kD, kH, kW]`.
    Convolution,
    /// Device `[kD, kH, kW, Cin, Cout]`, PyTorch ConvTranspose3d `[Cin, Cout, kD, kH, kW]`.
    TransposedConvolution,
}

impl ParameterLayout {
    /// PyTorch axis order as indices of device axes.
    fn torch_axes(self) -> &'static [usize] {
        match self {
            Self::Vector => &[0],
            Self::Convolution => &[4, 3, 0, 1, 2],
            Self::TransposedConvolution => &[3, 4, 0, 1, 2],
        }
    }

    /// PyTorch's shape of a parameter with this device shape.
    pub fn torch_shape(self, device: &[usize]) -> Vec<usize> {
        self.torch_axes().iter().map(|&a| device[a]).collect()
    }

    /// Reorders elements from the device's order to PyTorch's.
    pub fn to_torch<T: Copy>(self, data: &[T], device: &[usize]) -> Vec<T> {
        permute(data, device, self.torch_axes())
    }

    /// Reorders elements from PyTorch's order to the device's, whose shape is `device`.
    pub fn from_torch<T: Copy>(self, data: &[T], device: &[usize]) -> Vec<T> {
        let axes = self.torch_axes();
        let mut inverse = vec![0; axes.len()];
        for (torch, &own) in axes.iter().enumerate() {
            inverse[own] = torch;
        }
        permute(data, &self.torch_shape(device), &inverse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permute_moves_every_element_to_its_place() {
        let (shape, axes) = ([2, 3, 4], [2, 0, 1]);
        let data: Vec<usize> = (0..24).collect();
        let moved = permute(&data, &shape, &axes);
        for (i, j, k) in (0..2).flat_map(|i| (0..3).flat_map(move |j| (0..4).map(move |k| (i, j, k)))) {
            assert_eq!(moved[(k * 2 + i) * 3 + j], data[(i * 3 + j) * 4 + k]);
        }
    }

    #[test]
    fn torch_order_round_trips() {
        let device = [2, 3, 4, 5, 6];
        let data: Vec<usize> = (0..720).collect();
        for layout in [ParameterLayout::Convolution, ParameterLayout::TransposedConvolution] {
            let torch = layout.to_torch(&data, &device);
            assert_ne!(torch, data);
            assert_eq!(layout.from_torch(&torch, &device), data);
        }
        assert_eq!(ParameterLayout::Convolution.torch_shape(&device), [6, 5, 2, 3, 4]);
        assert_eq!(ParameterLayout::TransposedConvolution.torch_shape(&device), [5, 6, 2, 3, 4]);
    }
}
