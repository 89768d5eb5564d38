use super::image::{ImageShape, Place, image_and_numbers};
use crate::graph::{Lowering, Op};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Simulated low resolution: along each axis every s-th voxel (the nearest to multiples of s) is kept, and the others are
/// interpolated linearly.
///
/// Inputs: image `[N, D, H, W, C]` and numbers `[N, C, 3 (D + H + W)]`: for each coordinate of each axis the kept coordinates
/// below and above, and the position between them ([`LowResolution::table`]).
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
        let shape = ImageShape::of(at.input_spec(0));
        let dispatch = shape.dispatch_rows("augment_low_resolution");
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(shape.rows(), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let shape @ ImageShape { extents: [d, h, _], .. } = ImageShape::of(&inputs[0].spec);
        vec![shape.map(inputs[1], |place, table| {
            let entry = |row: usize| (table[3 * row] as usize, table[3 * row + 1] as usize, table[3 * row + 2]);
            let [z, y, x] = place.at;
            let axes = [entry(z), entry(d + y), entry(d + h + x)];
            let corner = |corner: usize| {
                let sides: [(usize, f64); 3] = std::array::from_fn(|axis| match (corner >> axis & 1, axes[axis]) {
                    (0, (below, _, t)) => (below, 1.0 - t),
                    (_, (_, above, t)) => (above, t),
                });
                let weight: f64 = sides.iter().map(|(_, weight)| weight).product();
                let at = sides.map(|(at, _)| at);
                weight * inputs[0].data[shape.element(&Place { at, ..*place })]
            };
            (0..8).map(corner).sum()
        })]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        21 * inputs[0].elements() as u64
    }
}
