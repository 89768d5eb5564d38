use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use std::time::Instant;

/// Runs before the ones that count: the first tunes, the second has everything compiled.
const WARM_UP: usize = 2;

/// Seconds of runs.
pub type Seconds = Vec<f64>;

/// A 5x5x5 convolution with stride 1, padding 2 and a bias, of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Extents D, H, W.
    pub extents: [usize; 3],
}

impl Layer {
    /// `CIN,COUT,DxHxW`, as `vnet-engine bench --conv` takes it.
    pub fn parse(text: &str) -> Option<Self> {
        let [in_channels, out_channels, extents]: [&str; 3] = text.split(',').collect::<Vec<_>>().try_into().ok()?;
        let number = |text: &str| text.trim().parse().ok().filter(|n| (1..=4096).contains(n));
        let extents: Vec<usize> = extents.split('x').map(number).collect::<Option<_>>()?;
        let (in_channels, out_channels) = (number(in_channels)?, number(out_channels)?);
        Some(Self { in_channels, out_channels, extents: extents.try_into().ok()? })
    }

    /// Direct flops of a forward run: two per tap, voxel, input and output channel.
    pub fn flops(&self) -> f64 {
        let voxels: usize = self.extents.iter().product();
        (2 * 125 * voxels * self.in_channels * self.out_channels) as f64
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [d, h, w] = self.extents;
        write!(f, "{},{},{d}x{h}x{w}", self.in_channels, self.out_channels)
    }
}

/// A layer in burn.
pub struct BurnLayer {
    device: Device,
    input: Tensor<5>,
    weight: Tensor<5>,
    bias: Tensor<1>,
    upstream: Tensor<5>,
}

impl BurnLayer {
    /// Random tensors on the device, and every kernel tuned and compiled.
    pub fn new(layer: Layer, device: &Device) -> Result<Self, String> {
        let [d, h, w] = layer.extents;
        let activation = |channels: usize| Tensor::<5>::random([1, channels, d, h, w], normal(), device);
        let made = Self {
            input: activation(layer.in_channels),
            weight: Tensor::random([layer.out_channels, layer.in_channels, 5, 5, 5], normal(), device),
            bias: Tensor::random([layer.out_channels], normal(), device),
            upstream: activation(layer.out_channels),
            device: device.clone(),
        };
        for _ in 0..WARM_UP {
            eprintln!("  forward {:.1} s", made.forward()?);
            eprintln!("  forward and backward {:.1} s", made.forward_and_backward()?);
        }
        Ok(made)
    }

    /// Seconds of a forward run without gradients.
    pub fn forward(&self) -> Result<f64, String> {
        self.timed(|| drop(convolve(self.input.clone(), self.weight.clone(), self.bias.clone())))
    }

    /// Seconds of a forward run and the gradients of input, weight and bias.
    pub fn forward_and_backward(&self) -> Result<f64, String> {
        let [input, weight] = [&self.input, &self.weight].map(|t| t.clone().autodiff().require_grad());
        let bias = self.bias.clone().autodiff().require_grad();
        let upstream = self.upstream.clone().autodiff();
        self.timed(|| {
            let output = convolve(input.clone(), weight.clone(), bias.clone());
            let gradients = (output * upstream.clone()).sum().backward();
            let found = input.grad(&gradients).is_some() && weight.grad(&gradients).is_some();
            assert!(found && bias.grad(&gradients).is_some(), "every gradient is there");
        })
    }

    fn timed(&self, work: impl FnOnce()) -> Result<f64, String> {
        self.sync()?;
        let start = Instant::now();
        work();
        self.sync()?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn sync(&self) -> Result<(), String> {
        self.device.sync().map_err(|e| format!("burn: {e:?}"))
    }
}

fn normal() -> Distribution {
    Distribution::Normal(0.0, 0.1)
}

fn convolve(input: Tensor<5>, weight: Tensor<5>, bias: Tensor<1>) -> Tensor<5> {
    conv3d(input, weight, Some(bias), ConvOptions::new([1; 3], [2; 3], [1; 3], 1))
}

/// The median; the mean of the two in the middle of an even number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
