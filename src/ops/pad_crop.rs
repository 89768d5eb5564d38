use super::case::{Bound, Case, Draw};
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// A spatial window of an activation `[N, D, H, W, C]`: output voxel `v` is input voxel `v + offset`, zero outside the
/// input. Negative offsets pad, positive ones crop; the adjoint is the window with the opposite offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadCrop {
    /// Input voxel of output voxel 0, per axis `[D, H, W]`.
    pub offset: [i32; 3],
    /// Output extents `[D, H, W]`.
    pub extents: [usize; 3],
}

impl PadCrop {
    /// The smallest window around `extents` whose extents are multiples of `divisor`, axis by axis; of the
    /// padding, half (rounded down) comes before.
    pub fn to_multiple(extents: [usize; 3], divisor: [usize; 3]) -> Self {
        let padded: [usize; 3] = std::array::from_fn(|axis| extents[axis].next_multiple_of(divisor[axis]));
        let before = |axis: usize| -(((padded[axis] - extents[axis]) / 2) as i32);
        Self { offset: [before(0), before(1), before(2)], extents: padded }
    }

    /// The window that leads back to the `extents` it was applied to.
    #[must_use]
    pub fn inverse(&self, extents: [usize; 3]) -> Self {
        Self { offset: self.offset.map(|o| -o), extents }
    }
}

impl Op for PadCrop {
    fn name(&self) -> &'static str {
        "pad_crop"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let [input] = inputs else {
            return Err(ShapeError::new(self.name(), "one activation", inputs));
        };
        input.spatial(self.name())?;
        let [d, h, w] = self.extents;
        Ok(vec![TensorSpec::f32([input.shape[0], d, h, w, input.channels()])])
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let extents = at.input_spec(0).spatial(self.name())?;
        at.contribute_node(0, self.inverse(extents), &[at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [n, d, h, w, c] = at.input_spec(0).shape[..] else { unreachable!("checked by the shape rule") };
        let rows = n * self.extents[0] * self.extents[1];
        let offsets = self.offset.iter().map(|o| o.cast_unsigned());
        let mut dispatch = Dispatch::new("pad_crop").params(&[d, h, w]).params(&self.extents).params(&[c, rows]);
        dispatch.params.extend(offsets);
        let dispatch = dispatch.read(at.input(0)).write(at.output(0));
        at.emit(dispatch.linear_grid(rows, at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [n, d, h, w, c] = inputs[0].shape()[..] else { unreachable!("checked by the shape rule") };
        let [od, oh, ow] = self.extents;
        let mut output = HostTensor::zeros(TensorSpec::f32([n, od, oh, ow, c]));
        let source = |i: usize, axis: usize, extent: usize| {
            usize::try_from(i as i64 + i64::from(self.offset[axis])).ok().filter(|&s| s < extent)
        };
        let mut position = 0;
        for (sample, z, y, x) in (0..n)
            .flat_map(|s| (0..od).flat_map(move |z| (0..oh).flat_map(move |y| (0..ow).map(move |x| (s, z, y, x)))))
        {
            if let (Some(z), Some(y), Some(x)) = (source(z, 0, d), source(y, 1, h), source(x, 2, w)) {
                let start = (((sample * d + z) * h + y) * w + x) * c;
                output.data[position..position + c].copy_from_slice(&inputs[0].data[start..start + c]);
            }
            position += c;
        }
        vec![output]
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, shape: [usize; 5], op: PadCrop| {
        Case::new(name, op, vec![(TensorSpec::f32(shape), Draw::Normal(1.0))], Bound::Sum { terms: 0 }).exact()
    };
    vec![
        case("pad_crop/pad", [2, 3, 5, 6, 3], PadCrop::to_multiple([3, 5, 6], [4; 3])),
        case("pad_crop/crop", [1, 8, 7, 6, 2], PadCrop { offset: [1, 2, 0], extents: [5, 3, 4] }),
        case("pad_crop/mixed", [1, 4, 5, 3, 1], PadCrop { offset: [-2, 1, -1], extents: [3, 6, 7] }),
    ]
}
