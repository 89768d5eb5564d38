use std::collections::BTreeMap;
use std::time::Duration;

/// A 5x5x5 convolution with stride 1, padding 2 and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConvolutionLayer {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Extents `[D, H, W]`.
    pub extents: [usize; 3],
    /// Samples.
    pub batch: usize,
}

impl std::fmt::Display for ConvolutionLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { in_channels, out_channels, extents: [d, h, w], batch } = self;
        write!(f, "{in_channels}->{out_channels}, {d}x{h}x{w}, batch {batch}")
    }
}

/// Between which kernels of a 5x5x5 convolution there is a choice.
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

/// Kernels of 5x5x5 convolutions by measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelTable {
    /// Name of the adapter that was measured.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The convolutions that were timed.
    pub convolutions: BTreeMap<ConvolutionLayer, MeasuredChoice>,
}
