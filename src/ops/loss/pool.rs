use super::labels::{IGNORED_SHARE, Labelling};
use crate::graph::{Lowering, Op};
use crate::ops::Activation;
use crate::ops::case::{Bound, Case, Draw};
use crate::ops::pool::windowed;
use crate::ops::rows::Rows;
use crate::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// Averages labels `u32 [N, D, H, W]` over windows to soft targets `f32 [N, d, h, w, K]`: the share of each of K outputs in the
/// voxels of the window that are not ignored. Voxels outside the label map, in its padding, are ignored. A window of ignored voxels
/// alone has -1 for every share; losses read the sign of the first.
///
/// With [`Activation::Softmax`] shares of a window add up to 1, with [`Activation::Sigmoid`] each is from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLabels {
    /// How the labels are read.
    pub activation: Activation,
    /// K.
    pub outputs: usize,
    /// Voxel of the label map at the first voxel of the first window, per axis `[D, H, W]`: 0 or less.
    pub offset: [i32; 3],
    /// Extents of the windows `[D, H, W]`.
    pub window: [usize; 3],
    /// Extents of the output `[d, h, w]`.
    pub extents: [usize; 3],
}

impl PoolLabels {
    fn labelling(self, labels: &TensorSpec) -> Labelling {
        Labelling::new(self.activation, self.outputs, labels)
    }
}

impl Op for PoolLabels {
    fn name(&self) -> &'static str {
        "pool_labels"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [labels] if labels.dtype == DType::U32 && labels.shape.len() == 4 && self.window.iter().all(|&w| w > 0) => {
                let [d, h, w] = self.extents;
                Ok(vec![TensorSpec::f32([labels.shape[0], d, h, w, self.outputs])])
            }
            _ => Err(ShapeError::new(self.name(), "labels u32 [N, D, H, W]", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, depth, height, width] = at.input_spec(0).shape[..] else {
            unreachable!("checked by the shape rule")
        };
        let rows = Rows::elementwise(samples, self.extents.iter().product(), self.outputs, at.target());
        // Where a row lies follows from its number, so rows are not divided among dispatches.
        let dispatch = rows.dispatch("pool_labels", at.target()).pieces(None);
        let dispatch = self.labelling(at.input_spec(0)).write(dispatch).params(&[depth, height, width]);
        let mut dispatch = dispatch.params(&self.extents[1..]).params(&self.window);
        dispatch.params.extend(self.offset.map(i32::cast_unsigned));
        at.emit(dispatch.read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [samples, depth, height, width] = inputs[0].shape()[..] else { unreachable!("checked by the shape rule") };
        let (labels, labelling) = (&inputs[0].data, self.labelling(&inputs[0].spec));
        let source = |axis: usize, at: i64, extent: usize| {
            usize::try_from(at + i64::from(self.offset[axis])).ok().filter(|&at| at < extent)
        };
        let voxel = |sample: usize, [z, y, x]: [i64; 3]| {
            let [z, y, x] = [source(0, z, depth)?, source(1, y, height)?, source(2, x, width)?];
            Some(((sample * depth + z) * height + y) * width + x)
        };
        let mut data = Vec::new();
        for (sample, window) in windowed(samples, self.extents, self.window) {
            let voxels = window.filter_map(|at| voxel(sample, at.map(|at| at as i64)));
            let counting: Vec<usize> = voxels.filter(|&voxel| labelling.counts(labels, voxel)).collect();
            let share = |k: usize| match counting.len() {
                0 => IGNORED_SHARE,
                count => counting.iter().map(|&voxel| labelling.share(labels, voxel, k)).sum::<f64>() / count as f64,
            };
            data.extend((0..self.outputs).map(share));
        }
        let [d, h, w] = self.extents;
        vec![HostTensor::new(TensorSpec::f32([samples, d, h, w, self.outputs]), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        (self.outputs * inputs[0].elements()) as u64
    }
}

pub(super) fn cases(classes: Draw, regions: Draw) -> Vec<Case> {
    use Activation::{Sigmoid, Softmax};
    let case = |name: &str, shape: [usize; 4], op: PoolLabels, labels: &Draw| {
        // A quotient of two whole numbers below 2^24: 2.5 ulp.
        let bound = Bound::Relative { ulps: 5.0 };
        let inputs = vec![(TensorSpec::u32(shape), labels.clone())];
        Case::new(format!("pool_labels/{name}"), op, inputs, bound).forward_only()
    };
    let op = |activation, outputs, offset, window, extents| PoolLabels { activation, outputs, offset, window, extents };
    vec![
        case("2x4x6x8-2x2x2", [2, 4, 6, 8], op(Softmax, 5, [0; 3], [2; 3], [2, 3, 4]), &classes),
        case("2x5x7x9-1x2x4-padded", [2, 5, 7, 9], op(Softmax, 5, [0, -1, -3], [1, 2, 4], [6, 4, 4]), &classes),
        case("1x3x5x7-4x3x2-padded", [1, 3, 5, 7], op(Sigmoid, 3, [-2, 0, -1], [4, 3, 2], [2, 2, 5]), &regions),
        case("2x4x6x8-all-ignored", [2, 4, 6, 8], op(Softmax, 5, [0; 3], [2; 3], [2, 3, 4]), &Draw::Among(&[5, 77])),
        case("1x64x128x128-2x2x2", [1, 64, 128, 128], op(Softmax, 3, [0; 3], [2; 3], [32, 64, 64]), &Draw::Labels(3))
            .benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_voxels_that_count() {
        // Two windows of 1x2x2 of one plane of 2x3, padded by a column before.
        let labels = HostTensor::new(TensorSpec::u32([1, 1, 2, 3]), vec![1.0, 2.0, 9.0, 0.0, 2.0, 1.0]);
        let op = PoolLabels {
            activation: Activation::Softmax,
            outputs: 3,
            offset: [0, 0, -1],
            window: [1, 2, 2],
            extents: [1, 1, 2],
        };
        let third = 1.0 / 3.0;
        assert_eq!(op.reference(&[&labels])[0].data, [0.5, 0.5, 0.0, 0.0, third, 2.0 * third]);
        let masks =
            HostTensor::new(TensorSpec::u32([1, 1, 2, 3]), vec![3.0, 2.0, 2147483648.0, 0.0, 2.0, 4294967295.0]);
        let regions = PoolLabels { activation: Activation::Sigmoid, outputs: 2, ..op };
        assert_eq!(regions.reference(&[&masks])[0].data, [0.5, 0.5, 0.0, 1.0]);
        let nothing = HostTensor::new(TensorSpec::u32([1, 1, 2, 3]), vec![3.0; 6]);
        assert_eq!(op.reference(&[&nothing])[0].data, [-1.0; 6]);
    }
}
