//! The definitions, in f64 and plain loops.

use super::sets::Sets;
use super::{Moments, Normalise, NormaliseGrad, Rectifier};
use crate::tensor::{HostTensor, TensorSpec};

/// Mean and biased variance of each set and group.
fn moments(sets: &Sets, input: &HostTensor) -> Vec<[f64; 2]> {
    let count = sets.elements() as f64;
    let mut moments = vec![[0.0; 2]; sets.count() * sets.groups];
    for (i, x) in input.data.iter().enumerate() {
        moments[sets.of(i)][0] += x / count;
    }
    for (i, x) in input.data.iter().enumerate() {
        let [mean, variance] = &mut moments[sets.of(i)];
        *variance += (x - *mean).powi(2) / count;
    }
    moments
}

/// Slope of the rectifier at a channel.
pub(super) fn slope(rectifier: Rectifier, slopes: Option<&HostTensor>, channel: usize) -> f64 {
    match rectifier {
        Rectifier::Leaky(slope) => f64::from(slope),
        Rectifier::Prelu => slopes.expect("slopes are an input").data[channel],
    }
}

pub(super) fn normalise(op: &Normalise, inputs: &[&HostTensor]) -> Vec<HostTensor> {
    let input = inputs[0];
    let sets = Sets::new(op.moments, &input.spec).expect("the inputs were checked");
    let moments = moments(&sets, input);
    let inverse = |variance: f64| 1.0 / (variance + f64::from(op.epsilon)).sqrt();
    let mut output = HostTensor::zeros(input.spec.clone());
    let mut statistics = HostTensor::zeros(op.statistics(&input.spec));
    for (i, x) in input.data.iter().enumerate() {
        let channel = i % sets.channels;
        let [mean, variance] = moments[sets.of(i)];
        let z = (x - mean) * inverse(variance) * inputs[1].data[channel] + inputs[2].data[channel];
        output.data[i] = if z > 0.0 { z } else { slope(op.rectifier, inputs.get(3).copied(), channel) * z };
        let at = sets.statistic(i);
        statistics.data[at] = mean;
        statistics.data[at + sets.channels] = inverse(variance);
    }
    let mut outputs = vec![output, statistics];
    if op.moments == Moments::Batch {
        let elements = sets.elements() as f64;
        let vector = |of: fn([f64; 2], f64) -> f64| {
            let data = moments.iter().map(|&moments| of(moments, elements)).collect();
            HostTensor::new(TensorSpec::f32([sets.channels]), data)
        };
        outputs.push(vector(|[mean, _], _| mean));
        outputs.push(vector(|[_, variance], elements| variance * elements / (elements - 1.0)));
    }
    outputs
}

/// What one element contributes to the gradient.
pub(super) struct Element {
    pub(super) channel: usize,
    pub(super) normalised: f64,
    pub(super) z: f64,
    /// Gradient of the loss with respect to `z`.
    pub(super) g: f64,
    /// `1 / sqrt(variance + epsilon)`.
    pub(super) scale: f64,
}

/// The elements of the inputs of [`NormaliseGrad`].
pub(super) fn elements<'a>(
    op: &'a Normalise,
    sets: &'a Sets,
    inputs: &'a [&'a HostTensor],
) -> impl Iterator<Item = Element> + 'a {
    let [input, statistics, grad_output, weight, bias, ref rest @ ..] = *inputs else { panic!("five inputs or more") };
    input.data.iter().zip(&grad_output.data).enumerate().map(move |(i, (x, upstream))| {
        let (channel, at) = (i % sets.channels, sets.statistic(i));
        let scale = statistics.data[at + sets.channels];
        let normalised = (x - statistics.data[at]) * scale;
        let z = normalised * weight.data[channel] + bias.data[channel];
        let slope = if z > 0.0 { 1.0 } else { slope(op.rectifier, rest.first().copied(), channel) };
        Element { channel, normalised, z, g: slope * upstream, scale }
    })
}

pub(super) fn normalise_grad(op: &NormaliseGrad, inputs: &[&HostTensor]) -> Vec<HostTensor> {
    let NormaliseGrad(normalise) = op;
    let sets = Sets::new(normalise.moments, &inputs[0].spec).expect("the inputs were checked");
    let weight = inputs[3];
    let vector = || HostTensor::zeros(TensorSpec::f32([sets.channels]));
    let [mut grad_weight, mut grad_bias, mut grad_slope] = [vector(), vector(), vector()];
    let mut means = vec![[0.0; 2]; sets.count() * sets.groups];
    for (i, e) in elements(normalise, &sets, inputs).enumerate() {
        let share = weight.data[e.channel] * e.g / sets.elements() as f64;
        let [of_gradient, of_product] = &mut means[sets.of(i)];
        *of_gradient += share;
        *of_product += share * e.normalised;
        grad_weight.data[e.channel] += e.g * e.normalised;
        grad_bias.data[e.channel] += e.g;
        if e.z <= 0.0 {
            grad_slope.data[e.channel] += inputs[2].data[i] * e.z;
        }
    }
    let mut grad_input = HostTensor::zeros(inputs[0].spec.clone());
    for (i, e) in elements(normalise, &sets, inputs).enumerate() {
        let [of_gradient, of_product] = means[sets.of(i)];
        grad_input.data[i] = e.scale * (weight.data[e.channel] * e.g - of_gradient - e.normalised * of_product);
    }
    let mut outputs = vec![grad_input, grad_weight, grad_bias];
    if normalise.rectifier == Rectifier::Prelu {
        outputs.push(grad_slope);
    }
    if sets.alone() {
        outputs.push(vector());
    }
    outputs
}
