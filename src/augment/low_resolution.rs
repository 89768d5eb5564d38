use super::histogram_matching::image_and_numbers;
use crate::graph::{Lowering, Op};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Simulated low resolution: along each axis every s-th voxel (the nearest to multiples of s) is kept, and the others are
/// interpolated linearly.
///
/// Inputs: image `[N, D, H, W, 1]` and numbers `[N, 3 (D + H + W)]`: for each coordinate of each axis the kept coordinates below
/// and above, and the position between them ([`LowResolution::table`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowResolution;

impl LowResolution {
    /// The numbers of an axis of `extent` voxels for a factor of at least 1; for 1 every voxel is kept.
    pub fn table(extent: usize, factor: f64) -> Vec<f64> {
        let last = (extent - 1) as f64;
        let kept = |number: f64| (number * factor).round().min(last);
        let entry = |at: usize| {
            let position = at as f64 / factor;
            let number = position.floor();
            [kept(number), kept(number + 1.0), if factor > 1.0 { position - number } else { 0.0 }]
        };
        (0..extent).flat_map(entry).collect()
    }
}

impl Op for LowResolution {
    fn name(&self) -> &'static str {
        "augment_low_resolution"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let extents = inputs.first().and_then(|image| image.spatial(self.name()).ok()).unwrap_or_default();
        image_and_numbers(self.name(), inputs, 3 * extents.iter().sum::<usize>())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [n, d, h, w, _] = at.input_spec(0).shape[..] else { unreachable!("checked by the shape rule") };
        let dispatch = Dispatch::new("augment_low_resolution").params(&[d, h, w, n * d * h]);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(n * d * h, at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, d, h, w, _] = inputs[0].shape()[..] else { unreachable!("checked by the shape rule") };
        let (voxels, numbers) = (d * h * w, 3 * (d + h + w));
        let mut output = inputs[0].clone();
        for (i, value) in output.data.iter_mut().enumerate() {
            let (sample, voxel) = (i / voxels, i % voxels);
            let table = &inputs[1].data[sample * numbers..][..numbers];
            let entry = |row: usize| (table[3 * row] as usize, table[3 * row + 1] as usize, table[3 * row + 2]);
            let axes = [entry(voxel / (h * w)), entry(d + voxel / w % h), entry(d + h + voxel % w)];
            let corner = |corner: usize| {
                let side = |axis: usize| match (corner >> axis & 1, axes[axis]) {
                    (0, (below, _, t)) => (below, 1.0 - t),
                    (_, (_, above, t)) => (above, t),
                };
                let [z, y, x] = [side(0), side(1), side(2)];
                z.1 * y.1 * x.1 * inputs[0].data[sample * voxels + (z.0 * h + y.0) * w + x.0]
            };
            *value = (0..8).map(corner).sum();
        }
        vec![output]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        21 * inputs[0].elements() as u64
    }
}
