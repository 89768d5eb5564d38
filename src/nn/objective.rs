use super::{Appended, Loss, LossInputs, Network};
use crate::graph::Graph;
use crate::ops::{Add, PoolLabels, Scale};
use crate::tensor::{ShapeError, ValueId};

/// What a training minimises: a loss, or its weighted sum over the resolutions of a network with auxiliary heads.
///
/// Labels are averaged over the windows of a lower resolution ([`PoolLabels`]). By default the weight is halved from one resolution
/// to the next, the lowest one has none, and they add up to 1: nnU-Net's rule. With one auxiliary head it therefore has no
/// effect.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// The loss of each resolution.
    pub loss: &'a dyn Loss,
    /// A weight for each output ([`LossInputs::class_weights`]), or none.
    pub class_weights: &'a [f32],
    /// Weights of the resolutions, the highest first, which are divided by their sum; empty: by the rule.
    pub resolution_weights: &'a [f32],
}

impl<'a> From<&'a dyn Loss> for Objective<'a> {
    fn from(loss: &'a dyn Loss) -> Self {
        Self { loss, class_weights: &[], resolution_weights: &[] }
    }
}

/// Weights of so many resolutions, the highest first, with sum 1: the given ones, or those of nnU-Net's rule.
pub(super) fn resolution_weights(given: &[f32], resolutions: usize) -> Vec<f32> {
    let halved = |i: usize| if i > 0 && i + 1 == resolutions { 0.0 } else { 0.5f64.powi(i as i32) };
    let weights: Vec<f64> = match given {
        [] => (0..resolutions).map(halved).collect(),
        given => given.iter().copied().map(f64::from).collect(),
    };
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

impl Objective<'_> {
    /// Appends the loss `[1]` of a network that was appended to the graph, and of labels `[N, D, H, W]`.
    pub(super) fn append(
        self,
        graph: &mut Graph,
        network: &Network,
        net: &Appended,
        labels: ValueId,
    ) -> Result<ValueId, ShapeError> {
        let resolutions = 1 + net.auxiliary.len();
        if !self.resolution_weights.is_empty() && self.resolution_weights.len() != resolutions {
            let expected = format!("{resolutions} weights of resolutions, not {}", self.resolution_weights.len());
            return Err(ShapeError::new("deep_supervision", expected, &[]));
        }
        let weights = resolution_weights(self.resolution_weights, resolutions);
        let mut total = None;
        for (i, (&logits, &weight)) in [net.logits].iter().chain(&net.auxiliary).zip(&weights).enumerate() {
            if weight == 0.0 {
                continue;
            }
            let labels = if i == 0 { labels } else { pool(graph, network, net, logits, labels)? };
            let activation = network.activation;
            let inputs = LossInputs { logits, labels, activation, class_weights: self.class_weights };
            let mut loss = self.loss.append(graph, inputs)?;
            graph.set_scope("loss.resolutions");
            if weight != 1.0 {
                loss = graph.add(Scale { factor: weight }, &[loss])?;
            }
            total = Some(match total {
                Some(total) => graph.add(Add, &[total, loss])?,
                None => loss,
            });
        }
        total.ok_or_else(|| ShapeError::new("deep_supervision", "a resolution with a weight above 0", &[]))
    }

    /// Whether an auxiliary head has no part in the loss of so many resolutions.
    pub(super) fn leaves_out_a_head(self, resolutions: usize) -> bool {
        resolution_weights(self.resolution_weights, resolutions).iter().skip(1).any(|&weight| weight == 0.0)
    }
}

/// The soft targets of logits of a lower resolution.
fn pool(
    graph: &mut Graph,
    network: &Network,
    net: &Appended,
    logits: ValueId,
    labels: ValueId,
) -> Result<ValueId, ShapeError> {
    let extents = graph.spec(logits).spatial("deep_supervision")?;
    let padded = net.padding.extents;
    if padded.iter().zip(extents).any(|(padded, extent)| extent == 0 || !padded.is_multiple_of(extent)) {
        let expected = format!("auxiliary logits whose extents divide those of the image, {padded:?}");
        return Err(ShapeError::new("deep_supervision", expected, &[graph.spec(logits)]));
    }
    let window = std::array::from_fn(|axis| padded[axis] / extents[axis]);
    let op = PoolLabels {
        activation: network.activation,
        outputs: network.classes,
        offset: net.padding.offset,
        window,
        extents,
    };
    graph.set_scope("loss.labels");
    graph.add(op, &[labels])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_halved_and_the_lowest_resolution_has_none() {
        assert_eq!(resolution_weights(&[], 1), [1.0]);
        assert_eq!(resolution_weights(&[], 2), [1.0, 0.0]);
        let expected = [8.0, 4.0, 2.0, 1.0, 0.0].map(|weight: f32| weight / 15.0);
        assert_eq!(resolution_weights(&[], 5), expected);
        assert_eq!(resolution_weights(&[2.0, 1.0, 1.0], 3), [0.5, 0.25, 0.25]);
    }
}
