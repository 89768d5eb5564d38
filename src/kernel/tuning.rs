/// Numbers that change how fast kernels are and never whether they are right: one table per class of device.
///
/// Sizes that a shader's text fixes, such as register tiles, stand beside the code that lowers to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Loads and stores of 64 bits cost what those of 32 do, so floats travel in pairs where the device has
    /// [`DeviceLimits::int64`](super::DeviceLimits::int64).
    pub pairs: bool,
    /// The kernels for subgroups of eight are faster: loads are slow, broadcasts are nearly free. They need [`Tuning::pairs`].
    pub subgroup_kernels: bool,
    /// Rows of one invocation of an elementwise kernel: enough to repay the computation of where they start.
    pub elementwise_rows: usize,
    /// Invocations of a workgroup of the direct convolutions. Each computes a row or a block of voxels.
    pub convolution_invocations: u32,
    /// Workgroups that the sum of a weight gradient is divided among, where there are so many voxels.
    pub gradient_workgroups: usize,
    /// Numbers of Winograd's convolution.
    pub winograd: WinogradTuning,
    /// What work costs, for the choice between direct kernels and Winograd's.
    pub costs: ConvolutionCosts,
    /// Work after which a submission is closed, in flops of [`crate::plan::PlannedDispatch::work`].
    pub submission_flops: u64,
    /// The loops that measure what the device gives at best.
    pub roofline: RooflineTuning,
}

/// How Winograd's convolution is divided; see [`crate::ops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WinogradTuning {
    /// Frequencies of one side of a part take about this many bytes, so that the caches of a processor's cores, or the
    /// second cache of a GPU, hold a part. A part has at least one row of tiles.
    pub part_bytes: usize,
    /// Weights whose frequencies take no more bytes are transformed at once; others slice by slice.
    pub weight_bytes: usize,
}

/// What the work of a 5x5x5 convolution costs, in nanoseconds or any other unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvolutionCosts {
    /// A flop of the direct kernel.
    pub direct: f64,
    /// A flop of the direct kernel for subgroups of eight.
    pub direct_subgroup: f64,
    /// A flop of the gemms between the transforms.
    pub gemm: f64,
    /// A frequency of the input, of the output or of a weight: written, read, and transformed.
    pub frequency: f64,
}

/// Sizes of the loops of [`crate::profile::Roofline::measure`]: larger than caches, and long enough against the overhead of a
/// dispatch, but below half a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RooflineTuning {
    /// Bytes of the copy, at most.
    pub copy_bytes: u64,
    /// Iterations of the loop of multiply-adds.
    pub iterations: usize,
}

/// Half a second at 0.2 TFLOP/s, which small GPUs reach: a quarter of the two seconds after which desktop systems reset a
/// device.
const SUBMISSION_FLOPS: u64 = 100_000_000_000;

impl Tuning {
    /// The tables of all classes of devices: a bound that holds for each holds on any device.
    pub const ALL: [Self; 2] = [Self::GPU, Self::CPU];

    /// A GPU. Estimated, not measured: costs are relative to a direct flop, gemms run a little faster, and a frequency is
    /// eight bytes of traffic at a few flops per byte.
    pub const GPU: Self = Self {
        pairs: false,
        subgroup_kernels: false,
        elementwise_rows: 4,
        convolution_invocations: 64,
        // The hundred and more processors of a GPU, several times.
        gradient_workgroups: 2000,
        winograd: WinogradTuning { part_bytes: 16 << 20, weight_bytes: 16 << 20 },
        costs: ConvolutionCosts { direct: 1.0, direct_subgroup: 1.0, gemm: 0.7, frequency: 40.0 },
        submission_flops: SUBMISSION_FLOPS,
        roofline: RooflineTuning { copy_bytes: 256 << 20, iterations: 7900 },
    };

    /// A CPU: llvmpipe on two cores, measured (docs/performance.md). 17 and 25 GFLOP/s
    /// direct, 33 GFLOP/s gemms, and 22 ns to read or write eight frequencies on one core.
    pub const CPU: Self = Self {
        pairs: true,
        subgroup_kernels: true,
        // Enough to pay for a subgroup's start as well.
        elementwise_rows: 32,
        // A workgroup runs on one core: small ones leave none idle.
        convolution_invocations: 16,
        gradient_workgroups: 100,
        winograd: WinogradTuning { part_bytes: 2 << 20, weight_bytes: 16 << 20 },
        costs: ConvolutionCosts { direct: 0.06, direct_subgroup: 0.04, gemm: 0.03, frequency: 1.4 },
        submission_flops: SUBMISSION_FLOPS,
        roofline: RooflineTuning { copy_bytes: 64 << 20, iterations: 160 },
    };
}
