use super::image::{ImageShape, image_and_numbers};
use crate::graph::{Lowering, Op};
use crate::random::pcg4d;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Terms of the bias field's polynomial: those of degree 1 to 3 in three variables.
pub(super) const BIAS_TERMS: usize = 19;

/// Numbers of one channel of a sample: low, high, mean, brightness, contrast, gamma, inverted, deviation of the noise, four times
/// 16 bits of its key, whether there is a bias field, and its coefficients.
pub const INTENSITY_PARAMETERS: usize = 13 + BIAS_TERMS;

/// Bias field, brightness, contrast, gamma and noise of an image `[N, D, H, W, C]` by `[N, C, INTENSITY_PARAMETERS]`, in this
/// order; the formulas are those of `augment_intensity.wgsl`. What is not wanted (factor 1, gamma 1, deviation 0) changes
/// no bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity;

/// The monomials of degree 1 to 3 at a point of [-1, 1]^3, by powers of x and then in the order z, y.
fn bias_monomials([z, y, x]: [f64; 3]) -> [f64; BIAS_TERMS] {
    [
        z,
        y,
        z * z,
        z * y,
        y * y,
        z * z * z,
        z * z * y,
        z * y * y,
        y * y * y,
        x,
        x * z,
        x * y,
        x * z * z,
        x * z * y,
        x * y * y,
        x * x,
        x * x * z,
        x * x * y,
        x * x * x,
    ]
}

/// The noise of voxel number `voxel` of a channel of a sample under the four 16-bit parts of its key: radius and cosine, whose product is
/// standard normal.
pub fn standard_normal(voxel: usize, key: &[f64]) -> (f64, f64) {
    let word = |low: f64, high: f64| low as u32 | (high as u32) << 16;
    let counter = u32::try_from(voxel).expect("voxels of a device tensor fit in 32 bits");
    let bits = pcg4d([counter, word(key[0], key[1]), word(key[2], key[3]), 0]);
    let unit = 1.0 / f64::from(1u32 << 24);
    let u = (f64::from(bits[0] >> 8) + 1.0) * unit;
    let angle = (f64::from(bits[1] >> 8) * unit - 0.5) * std::f64::consts::TAU;
    ((-2.0 * u.ln()).sqrt(), angle.cos())
}

/// Position of a coordinate between the ends -1 and 1 of its axis.
fn centred(at: usize, extent: usize) -> f64 {
    if extent > 1 { 2.0 * at as f64 / (extent - 1) as f64 - 1.0 } else { 0.0 }
}

impl Intensity {
    /// The exponent of the bias field at a voxel z, y, x.
    pub fn bias(numbers: &[f64], at: [usize; 3], extents: [usize; 3]) -> f64 {
        let monomials = bias_monomials(std::array::from_fn(|axis| centred(at[axis], extents[axis])));
        monomials.iter().zip(&numbers[13..]).map(|(m, c)| m * c).sum()
    }

    /// Gamma on `t` in [0, 1].
    pub fn curve(numbers: &[f64], t: f64) -> f64 {
        if numbers[6] == 0.0 { t.powf(numbers[5]) } else { 1.0 - (1.0 - t).powf(numbers[5]) }
    }

    fn apply(numbers: &[f64], value: f64, at: [usize; 3], extents: [usize; 3]) -> f64 {
        let &[low, high, mean, brightness, contrast, gamma, _, deviation, ..] = numbers else {
            unreachable!("checked by the shape rule")
        };
        let mut v = value;
        if numbers[12] != 0.0 {
            v = low + (v - low) * Self::bias(numbers, at, extents).exp();
        }
        v *= brightness;
        v = mean + (v - mean) * contrast;
        let range = high - low;
        if gamma != 1.0 && range > 0.0 {
            v = low + range * Self::curve(numbers, ((v - low) / range).clamp(0.0, 1.0));
        }
        if deviation > 0.0 {
            let voxel = (at[0] * extents[1] + at[1]) * extents[2] + at[2];
            let (radius, cosine) = standard_normal(voxel, &numbers[8..12]);
            v += deviation * radius * cosine;
        }
        v
    }
}

impl Op for Intensity {
    fn name(&self) -> &'static str {
        "augment_intensity"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        image_and_numbers(self.name(), inputs, INTENSITY_PARAMETERS)
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let shape = ImageShape::of(at.input_spec(0));
        let dispatch = shape.dispatch_rows("augment_intensity");
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(shape.rows(), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let shape = ImageShape::of(&inputs[0].spec);
        vec![shape.map(inputs[1], |place, numbers| {
            Self::apply(numbers, inputs[0].data[shape.element(place)], place.at, shape.extents)
        })]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        40 * inputs[0].elements() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_standard_normal_and_changes_with_every_part_of_the_key() {
        let key = [1.0, 65_535.0, 7.0, 0.0];
        let draw = |key: &[f64]| -> Vec<f64> {
            (0..40_000).map(|v| standard_normal(v, key)).map(|(radius, cosine)| radius * cosine).collect()
        };
        let values = draw(&key);
        let moment = |power: i32| values.iter().map(|v| v.powi(power)).sum::<f64>() / values.len() as f64;
        // Five standard errors of the first four moments: sqrt(1, 2, 15, 96) / 200 each.
        for (power, expected, variance) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let bound = 5.0 * variance.sqrt() / 200.0;
            assert!((moment(power) - expected).abs() < bound, "moment {power} is {}", moment(power));
        }
        for part in 0..4 {
            let mut other = key;
            other[part] = 3.0;
            let product = draw(&other).iter().zip(&values).map(|(a, b)| a * b).sum::<f64>() / values.len() as f64;
            assert!(product.abs() < 5.0 / 200.0, "part {part}: correlation {product}");
        }
    }
}
