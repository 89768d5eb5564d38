//! A convolution of a state dictionary with its bias and its batch normalisation, which is folded in as in evaluation.

use crate::nn::model::Tensor;
use std::collections::BTreeMap;

/// Epsilon of PyTorch's `BatchNorm3d`.
const EPSILON: f64 = 1e-5;

/// Weights in f64 until all that is folded in is.
pub(super) struct Convolution {
    /// PyTorch's shape.
    pub(super) shape: Vec<usize>,
    pub(super) weight: Vec<f64>,
    pub(super) bias: Vec<f64>,
    /// Axis of the output channels: 0, of a transposed convolution 1.
    axis: usize,
}

/// A tensor as f64, if it is there.
pub(super) fn vector(tensors: &BTreeMap<String, Tensor>, name: &str) -> Option<Vec<f64>> {
    tensors.get(name).map(|tensor| tensor.data.iter().map(|&value| f64::from(value)).collect())
}

impl Convolution {
    /// `name.weight` and, where there is one, `name.bias`.
    pub(super) fn read(tensors: &BTreeMap<String, Tensor>, name: &str, transposed: bool) -> Result<Self, String> {
        let key = format!("{name}.weight");
        let tensor = tensors.get(&key).ok_or_else(|| format!("{key} is missing"))?;
        let axis = usize::from(transposed);
        if tensor.shape.len() != 5 || tensor.shape.contains(&0) {
            return Err(format!("{key} is {:?}, expected five axes, none of them empty", tensor.shape));
        }
        let channels = tensor.shape[axis];
        let bias = vector(tensors, &format!("{name}.bias")).unwrap_or_else(|| vec![0.0; channels]);
        if bias.len() != channels {
            return Err(format!("{name}.bias has {} elements, expected {channels}", bias.len()));
        }
        let weight = tensor.data.iter().map(|&value| f64::from(value)).collect();
        Ok(Self { shape: tensor.shape.clone(), weight, bias, axis })
    }

    /// Folds in the batch normalisation `name` that follows it, with the stored statistics: `(y - mean) / sqrt(variance + eps) * weight +
    /// bias`.
    pub(super) fn normalise(&mut self, tensors: &BTreeMap<String, Tensor>, name: &str) -> Result<(), String> {
        let part = |part: &str| {
            let key = format!("{name}.{part}");
            let values = vector(tensors, &key).ok_or_else(|| format!("{key} is missing"))?;
            let channels = self.bias.len();
            let wrong = || format!("{key} has {} elements, expected {channels}", values.len());
            if values.len() == channels { Ok(values.clone()) } else { Err(wrong()) }
        };
        let [mean, variance, gain, shift] =
            [part("running_mean")?, part("running_var")?, part("weight")?, part("bias")?];
        let factor: Vec<f64> = variance.iter().zip(&gain).map(|(v, g)| g / (v + EPSILON).sqrt()).collect();
        let inner: usize = self.shape[self.axis + 1..].iter().product();
        let channels = self.bias.len();
        for (index, weight) in self.weight.iter_mut().enumerate() {
            *weight *= factor[index / inner % channels];
        }
        for (channel, bias) in self.bias.iter_mut().enumerate() {
            *bias = (*bias - mean[channel]) * factor[channel] + shift[channel];
        }
        Ok(())
    }

    /// This convolution followed by the 1x1x1 convolution `second`, as one; `None` if this kernel has no middle tap, or
    /// another tap is not zero.
    pub(super) fn then_point(&self, second: &Self) -> Option<Self> {
        let has_middle = self.shape[2..].iter().all(|extent| extent % 2 == 1);
        let taps: usize = self.shape[2..].iter().product();
        let middle = taps / 2;
        if !has_middle || self.weight.iter().enumerate().any(|(i, w)| i % taps != middle && *w != 0.0) {
            return None;
        }
        let (inner, inputs, outputs) = (self.shape[0], self.shape[1], second.shape[0]);
        let first = |k: usize, i: usize| self.weight[(k * inputs + i) * taps + middle];
        let sum = |o: usize, of: &dyn Fn(usize) -> f64| -> f64 {
            (0..inner).map(|k| second.weight[o * inner + k] * of(k)).sum()
        };
        let weight = (0..outputs * inputs).map(|n| sum(n / inputs, &|k| first(k, n % inputs))).collect();
        let bias = (0..outputs).map(|o| sum(o, &|k| self.bias[k]) + second.bias[o]).collect();
        Some(Self { shape: vec![outputs, inputs, 1, 1, 1], weight, bias, axis: 0 })
    }

    /// Adds weight and bias under a name of this program.
    pub(super) fn store(self, tensors: &mut BTreeMap<String, Tensor>, name: &str) {
        let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
        let bias = Tensor { shape: vec![self.bias.len()], data: narrow(self.bias) };
        tensors.insert(format!("{name}.weight"), Tensor { shape: self.shape, data: narrow(self.weight) });
        tensors.insert(format!("{name}.bias"), bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(entries: &[(&str, &[usize], &[f32])]) -> BTreeMap<String, Tensor> {
        let tensor = |(name, shape, data): &(&str, &[usize], &[f32])| {
            ((*name).to_owned(), Tensor { shape: shape.to_vec(), data: data.to_vec() })
        };
        entries.iter().map(tensor).collect()
    }

    #[test]
    fn normalisation_scales_the_output_channels_of_both_kinds() {
        let found = tensors(&[
            ("c.weight", &[2, 3, 1, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("t.weight", &[3, 2, 1, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("c.bias", &[2], &[10.0, 20.0]),
            ("n.running_mean", &[2], &[1.0, 2.0]),
            ("n.running_var", &[2], &[0.25 - 1e-5, 4.0 - 1e-5]),
            ("n.weight", &[2], &[3.0, -1.0]),
            ("n.bias", &[2], &[0.5, 7.0]),
        ]);
        // Factors 3 / 0.5 = 6 and -1 / 2.
        let expect = |name: &str, transposed: bool, weight: [f64; 6], bias: [f64; 2]| {
            let mut convolution = Convolution::read(&found, name, transposed).expect("read");
            convolution.normalise(&found, "n").expect("normalised");
            for (found, expected) in convolution.weight.iter().zip(weight).chain(convolution.bias.iter().zip(bias)) {
                // The variances were rounded to float32, whose relative error stays below 2^-24.
                assert!((found - expected).abs() <= expected.abs() * 2f64.powi(-23), "{found}, not {expected}");
            }
        };
        expect("c", false, [6.0, 12.0, 18.0, -2.0, -2.5, -3.0], [54.5, -2.0]);
        expect("t", true, [6.0, -1.0, 18.0, -2.0, 30.0, -3.0], [-5.5, 8.0]);
    }

    #[test]
    fn point_convolutions_are_multiplied_and_others_are_not() {
        let mut first = vec![0.0; 2 * 27];
        (first[13], first[27 + 13]) = (2.0, 3.0);
        let mut found = tensors(&[
            ("a.weight", &[1, 2, 3, 3, 3], &first),
            ("a.bias", &[1], &[4.0]),
            ("b.weight", &[2, 1, 1, 1, 1], &[5.0, 7.0]),
            ("b.bias", &[2], &[1.0, -1.0]),
        ]);
        let read = |found: &BTreeMap<_, _>, name| Convolution::read(found, name, false).expect("read");
        let both = read(&found, "a").then_point(&read(&found, "b")).expect("points");
        assert_eq!(
            (both.shape.as_slice(), both.weight, both.bias),
            (&[2, 2, 1, 1, 1][..], vec![10.0, 15.0, 14.0, 21.0], vec![21.0, 27.0])
        );
        found.get_mut("a.weight").expect("there").data[5] = 0.1;
        assert!(read(&found, "a").then_point(&read(&found, "b")).is_none());
    }
}
