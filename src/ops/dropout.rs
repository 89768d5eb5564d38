use super::case::{Bound, Case, Draw};
use super::rows::Rows;
use crate::graph::{Lowering, Op, Vjp};
use crate::random::pcg4d;
use crate::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// Dropout of an activation `[N, D, H, W, C]` with probability `rate`: what is dropped is 0, the rest is divided by `1 - rate`.
///
/// Input 1 are keys `u32 [N, 2]`, 64 bits for each sample. What is dropped is a pure function of the sample's key, the number of
/// the layer, and the channel or the element, so nothing is stored: the gradient is the same operation on the upstream gradient, and
/// a forward pass that is computed again drops the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability with which something is dropped, 0 or more and below 1.
    pub rate: f32,
    /// Number that keeps layers of one network apart.
    pub layer: u32,
    /// Whole channels of a sample are dropped (PyTorch's `Dropout3d`), else elements.
    pub spatial: bool,
}

impl Dropout {
    /// What random words are below where something is dropped.
    fn threshold(self) -> u32 {
        // A rate below 1 is at most 1 - 2^-24, so this fits in 32 bits.
        (f64::from(self.rate) * 2f64.powi(32)) as u32
    }

    fn factor(self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    /// Whether the channel or element `number` of a sample with this key stays.
    fn keeps(self, number: usize, key: &[f64]) -> bool {
        let number = u32::try_from(number).expect("elements of a device tensor fit in 32 bits");
        pcg4d([number, key[0] as u32, key[1] as u32, self.layer])[0] >= self.threshold()
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let rate = (0.0..1.0).contains(&self.rate);
        match inputs {
            [x, keys] if rate && x.dtype == DType::F32 && x.shape.len() == 5 && **keys == Self::keys(x.shape[0]) => {
                Ok(vec![(*x).clone()])
            }
            _ => {
                let expected = "an activation [N, D, H, W, C], keys u32 [N, 2], and a rate of 0 or more and below 1";
                Err(ShapeError::new(self.name(), expected, inputs))
            }
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, *self, &[at.grad_output(), at.input(1)])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [n, d, h, w, c] = at.input_spec(0).shape[..] else { unreachable!("checked by the shape rule") };
        let rows = Rows::elementwise(n, d * h * w, c, at.target());
        // Which element a row begins with follows from its number, so rows are not divided among dispatches.
        let dispatch = rows.dispatch("dropout", at.target()).pieces(None);
        let mut dispatch = dispatch.param(self.spatial.into());
        dispatch.params.extend([self.layer, self.threshold()]);
        at.emit(dispatch.scalar(self.factor()).read(at.input(0)).read(at.input(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [n, .., channels] = inputs[0].shape()[..] else { unreachable!("checked by the shape rule") };
        let elements = inputs[0].data.len() / n.max(1);
        let factor = f64::from(self.factor());
        let of = |(i, x): (usize, &f64)| {
            let number = if self.spatial { i % channels } else { i % elements };
            let sample = i / elements;
            if self.keeps(number, &inputs[1].data[2 * sample..]) { factor * x } else { 0.0 }
        };
        vec![HostTensor::new(inputs[0].spec.clone(), inputs[0].data.iter().enumerate().map(of).collect())]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

impl Dropout {
    /// The spec of the keys of so many samples.
    pub fn keys(samples: usize) -> TensorSpec {
        TensorSpec::u32([samples, 2])
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, shape: [usize; 5], rate: f32, layer: u32, spatial: bool| {
        let keys = (Dropout::keys(shape[0]), Draw::Labels(u32::MAX));
        let inputs = vec![(TensorSpec::f32(shape), Draw::Normal(1.0)), keys];
        // One product.
        let op = Dropout { rate, layer, spatial };
        let case = Case::new(format!("dropout/{name}"), op, inputs, Bound::Relative { ulps: 1.0 });
        // Then 1 / (1 - rate) is a power of two.
        if rate == 0.5 { case.exact() } else { case }
    };
    vec![
        case("3x3x5x7x6-channels", [3, 3, 5, 7, 6], 0.5, 2, true),
        case("2x5x9x11x33-channels", [2, 5, 9, 11, 33], 0.2, 0, true),
        case("2x3x5x7x3-elements", [2, 3, 5, 7, 3], 0.5, 7, false),
        case("3x9x11x13x5-elements", [3, 9, 11, 13, 5], 0.3, 1, false),
        case("2x3x5x7x3-none", [2, 3, 5, 7, 3], 0.0, 1, false),
        case("1x32x64x64x32-channels", [1, 32, 64, 64, 32], 0.5, 0, true).benchmark(),
        case("1x32x64x64x32-elements", [1, 32, 64, 64, 32], 0.5, 0, false).benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(op: Dropout, shape: [usize; 5], keys: Vec<f64>) -> Vec<f64> {
        let keys = HostTensor::new(Dropout::keys(shape[0]), keys);
        op.reference(&[&HostTensor::from_fn(shape, |_| 1.0), &keys]).swap_remove(0).data
    }

    #[test]
    fn the_rate_is_the_share_that_is_dropped_and_draws_are_independent() {
        let op = Dropout { rate: 0.3, layer: 0, spatial: false };
        let shape = [1, 20, 40, 25, 2];
        let first = dropped(op, shape, vec![1.0, 7.0]);
        let count = first.len() as f64;
        let share = |values: &[f64]| values.iter().filter(|&&x| x == 0.0).count() as f64 / count;
        // Five standard deviations of a share.
        let bound = |p: f64| 5.0 * (p * (1.0 - p) / count).sqrt();
        assert!((share(&first) - 0.3).abs() < bound(0.3), "{}", share(&first));
        assert!(first.iter().all(|&x| x == 0.0 || (x - 1.0 / 0.7).abs() < 1e-6));
        // Other keys, in either word, and other layers drop independently: both with probability 0.09.
        let next = Dropout { layer: 1, ..op };
        for other in [
            dropped(op, shape, vec![2.0, 7.0]),
            dropped(op, shape, vec![1.0, 8.0]),
            dropped(next, shape, vec![1.0, 7.0]),
        ] {
            let both = first.iter().zip(&other).map(|(a, b)| a + b).collect::<Vec<f64>>();
            assert!((share(&both) - 0.09).abs() < bound(0.09), "{}", share(&both));
        }
    }

    #[test]
    fn spatial_dropout_drops_whole_channels_of_a_sample() {
        let op = Dropout { rate: 0.5, layer: 3, spatial: true };
        let values = dropped(op, [2, 3, 4, 5, 40], vec![5.0, 0.0, 6.0, 0.0]);
        let samples: Vec<&[f64]> = values.chunks_exact(3 * 4 * 5 * 40).collect();
        for sample in &samples {
            assert!(sample.chunks_exact(40).all(|voxel| voxel == &sample[..40]));
            let kept = sample[..40].iter().filter(|&&x| x > 0.0).count();
            assert!((4..=36).contains(&kept), "{kept} of 40");
        }
        assert_ne!(samples[0][..40], samples[1][..40]);
    }

    /// Pinned: a resumed training must go on dropping the same.
    #[test]
    fn what_is_dropped_is_pinned() {
        let op = Dropout { rate: 0.5, layer: 1, spatial: false };
        let kept: Vec<u8> = dropped(op, [1, 1, 1, 2, 8], vec![3.0, 4.0]).iter().map(|&x| u8::from(x > 0.0)).collect();
        assert_eq!(kept, [1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]);
    }
}
