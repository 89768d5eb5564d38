use crate::kernel::{ConvolutionLayer, Dispatch};
use crate::tensor::{ShapeError, TensorSpec};

/// Order of the two channel axes of weights, which both follow the taps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum WeightOrder {
    /// `[k, in channel, out channel]`: a convolution.
    InputFirst,
    /// `[k, out channel, in channel]`: a transposed convolution, whose input is the output of the convolution that leads back.
    OutputFirst,
}

/// Extents of a convolution, and how its weights lie.
///
/// A transposed convolution is the input gradient of the convolution that leads back, and has the geometry of that one: its
/// own input is the `output` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Geometry {
    pub batch: usize,
    /// Extents of the input, from which windows are cut.
    pub input: [usize; 3],
    /// Extents of the output, which has one voxel per window.
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub padding: [usize; 3],
    pub in_channels: usize,
    pub out_channels: usize,
    pub order: WeightOrder,
}

impl Geometry {
    /// The convolution of a layer, with the padding of half a kernel.
    pub fn of_layer(layer: &ConvolutionLayer) -> Self {
        let &ConvolutionLayer { in_channels, out_channels, extents, batch, kernel, stride } = layer;
        Self {
            batch,
            input: extents,
            output: layer.output_extents(),
            kernel,
            stride,
            padding: layer.padding(),
            in_channels,
            out_channels,
            order: WeightOrder::InputFirst,
        }
    }

    /// The layer of which this is the convolution: of odd kernels, with the padding of half a kernel.
    pub fn layer(&self) -> Option<ConvolutionLayer> {
        let &Self { batch, input: extents, in_channels, out_channels, kernel, stride, .. } = self;
        let layer = ConvolutionLayer { in_channels, out_channels, extents, batch, kernel, stride };
        (kernel.iter().all(|k| k % 2 == 1) && *self == Self::of_layer(&layer)).then_some(layer)
    }

    /// Whether this is a convolution of stride 1 and an odd kernel that keeps the extents.
    pub fn keeps_extents(&self) -> bool {
        self.stride == [1; 3] && self.layer().is_some()
    }

    /// Number of taps of the window.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Voxels of the input, over the batch.
    pub fn input_voxels(&self) -> usize {
        self.batch * self.input.iter().product::<usize>()
    }

    /// Voxels of the output, over the batch.
    pub fn output_voxels(&self) -> usize {
        self.batch * self.output.iter().product::<usize>()
    }

    /// Rows of voxels along x of the input, over the batch.
    pub fn input_rows(&self) -> usize {
        self.batch * self.input[0] * self.input[1]
    }

    /// Steps between the weights of neighbouring input and output channels.
    pub fn weight_steps(&self) -> [usize; 2] {
        match self.order {
            WeightOrder::InputFirst => [self.out_channels, 1],
            WeightOrder::OutputFirst => [1, self.in_channels],
        }
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.taps() * self.in_channels * self.out_channels
    }

    /// Flops of the direct form, taps in the padding included.
    pub fn flops(&self) -> u64 {
        2 * self.output_voxels() as u64 * self.weights() as u64
    }

    /// Whether the windows tile the input: a gemm with an index map.
    pub fn windows_tile(&self) -> bool {
        self.kernel == self.stride && self.padding == [0; 3]
    }

    /// Appends the fields of `Geometry` in `shaders/common/conv3d_geometry.wgsl`.
    pub fn write(&self, dispatch: Dispatch) -> Dispatch {
        dispatch
            .param(self.batch)
            .params(&self.input)
            .params(&self.output)
            .params(&self.kernel)
            .params(&self.stride)
            .params(&self.padding)
            .params(&[self.in_channels, self.out_channels])
            .params(&self.weight_steps())
    }

    /// The geometry of a convolution of these specs.
    pub fn of_conv3d(
        op: &'static str,
        stride: [usize; 3],
        padding: [usize; 3],
        activation: &TensorSpec,
        weight: &TensorSpec,
    ) -> Result<Self, ShapeError> {
        let error = |expected: &str| ShapeError::new(op, expected, &[activation, weight]);
        let ([batch, d, h, w, channels], [kd, kh, kw, cin, cout]) = (axes(op, activation)?, axes(op, weight)?);
        let (input, kernel) = ([d, h, w], [kd, kh, kw]);
        if channels != cin {
            return Err(error("weights [kD, kH, kW, Cin, Cout] with the channels of the input"));
        }
        if stride.contains(&0) || kernel.contains(&0) {
            return Err(error("a stride and a kernel of at least one"));
        }
        let mut output = [0; 3];
        for axis in 0..3 {
            output[axis] = (input[axis] + 2 * padding[axis])
                .checked_sub(kernel[axis])
                .map(|room| room / stride[axis] + 1)
                .ok_or_else(|| error("a kernel that fits into the padded input"))?;
        }
        let (in_channels, out_channels, order) = (cin, cout, WeightOrder::InputFirst);
        let geometry = Self { batch, input, output, kernel, stride, padding, in_channels, out_channels, order };
        if geometry.windows_tile() && (0..3).any(|axis| input[axis] % stride[axis] != 0) {
            return Err(error("extents that windows without overlap divide"));
        }
        Ok(geometry)
    }
}

/// The five extents of an activation or of weights.
pub(in crate::ops) fn axes(op: &'static str, spec: &TensorSpec) -> Result<[usize; 5], ShapeError> {
    spec.shape[..].try_into().map_err(|_| ShapeError::new(op, "tensors of five axes", &[spec]))
}

/// Shape of an activation.
pub(in crate::ops) fn activation(batch: usize, [d, h, w]: [usize; 3], channels: usize) -> TensorSpec {
    TensorSpec::f32([batch, d, h, w, channels])
}
