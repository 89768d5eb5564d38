use std::collections::BTreeMap;
use std::time::Duration;

/// A convolution with odd extents of the kernel, a padding of half a kernel, and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConvolutionLayer {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Extents `[D, H, W]` of the input.
    pub extents: [usize; 3],
    /// Samples.
    pub batch: usize,
    /// Extents of the kernel (z, y, x).
    pub kernel: [usize; 3],
    /// Steps of the window (z, y, x).
    pub stride: [usize; 3],
}

impl ConvolutionLayer {
    /// The 5x5x5 convolution of stride 1, from these channels to those.
    pub fn same_5([in_channels, out_channels]: [usize; 2], extents: [usize; 3], batch: usize) -> Self {
        Self { in_channels, out_channels, extents, batch, kernel: [5; 3], stride: [1; 3] }
    }

    /// Zeros on either side of the input, per axis.
    pub fn padding(&self) -> [usize; 3] {
        self.kernel.map(|kernel| kernel / 2)
    }

    /// Extents of the output.
    pub fn output_extents(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.extents[axis].div_ceil(self.stride[axis]))
    }

    /// Whether its kernels are chosen: both the direct ones and Winograd's compute convolutions of stride 1 with 1, 3 or 5 taps along
    /// each axis, but those of one tap.
    pub fn has_choice(&self) -> bool {
        let taps = self.kernel.iter().all(|taps| [1, 3, 5].contains(taps)) && self.kernel != [1; 3];
        taps && self.stride == [1; 3]
    }
}

impl std::fmt::Display for ConvolutionLayer {
    /// `8->16, 16x32x32, batch 1`; a kernel that is not 5x5x5 and a stride that is not 1 follow.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { in_channels, out_channels, extents: [d, h, w], batch, kernel, stride } = self;
        write!(f, "{in_channels}->{out_channels}, {d}x{h}x{w}, batch {batch}")?;
        if *kernel != [5; 3] {
            let [z, y, x] = kernel;
            write!(f, ", kernel {z}x{y}x{x}")?;
        }
        if *stride != [1; 3] {
            let [z, y, x] = stride;
            write!(f, ", stride {z}x{y}x{x}")?;
        }
        Ok(())
    }
}

/// Between which kernels of a convolution there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvolutionKernels {
    /// The direct ones.
    Direct,
    /// Winograd's.
    Winograd,
}

/// The kernels of a convolution, and what they were chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredChoice {
    /// What to run.
    pub kernels: ConvolutionKernels,
    /// Median time of the direct kernels.
    pub direct: Duration,
    /// Median time of Winograd's.
    pub winograd: Duration,
}

/// Kernels of convolutions by measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelTable {
    /// Name of the adapter that was measured.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The convolutions that were timed.
    pub convolutions: BTreeMap<ConvolutionLayer, MeasuredChoice>,
}
