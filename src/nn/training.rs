use super::{Layer, Loss, LossInputs, Mode, Network};
use crate::graph::{Graph, Role, gradients};
use crate::ops::{GRADIENT_OPS, Scale, share_channel_sums};
use crate::tensor::{ShapeError, TensorSpec, ValueId};

/// A network with its loss and the gradient of every parameter.
#[derive(Debug, Clone)]
pub struct TrainingGraph {
    /// Forward and backward pass.
    pub graph: Graph,
    /// Image `[N, D, H, W, in_channels]`.
    pub image: ValueId,
    /// Labels `[N, D, H, W]`, written as the network's [`Activation`](super::Activation) says.
    pub labels: ValueId,
    /// Logits `[N, D, H, W, classes]`.
    pub logits: ValueId,
    /// Loss `[1]` of the batch.
    pub loss: ValueId,
    /// Gradient of each parameter, in the graph's order; of a statistic that of the batch, times the scale of the loss.
    pub gradients: Vec<ValueId>,
    /// Layers with weights.
    pub layers: Vec<Layer>,
    /// Nodes of the forward pass and the loss; those after them are the backward pass.
    pub forward: usize,
}

impl TrainingGraph {
    /// The graph for `batch` samples of `extents` `[D, H, W]`. Gradients are those of `loss * scale`: with gradient
    /// accumulation over k batches, `scale` is 1/k.
    ///
    /// # Errors
    /// [`ShapeError`] when an operation is not defined on the shapes that come up.
    pub fn new(
        network: &Network,
        loss: &dyn Loss,
        batch: usize,
        extents: [usize; 3],
        scale: f32,
    ) -> Result<Self, ShapeError> {
        let mut graph = Graph::new();
        let [d, h, w] = extents;
        let image = graph.input("image", TensorSpec::f32([batch, d, h, w, network.in_channels]));
        let labels = graph.input("labels", TensorSpec::u32([batch, d, h, w]));
        Self::on(graph, network, loss, (image, labels), scale)
    }

    /// As [`TrainingGraph::new`], in a graph that already makes the image and the labels.
    ///
    /// # Errors
    /// [`ShapeError`] when an operation is not defined on the shapes that come up.
    pub fn on(
        mut graph: Graph,
        network: &Network,
        loss: &dyn Loss,
        (image, labels): (ValueId, ValueId),
        scale: f32,
    ) -> Result<Self, ShapeError> {
        let net = network.append(&mut graph, image, Mode::Training)?;
        let inputs = LossInputs { logits: net.logits, labels, activation: network.activation };
        let loss = loss.append(&mut graph, inputs)?;
        let forward = graph.nodes().len();
        let parameters: Vec<ValueId> = graph.parameters().iter().map(|p| p.value).collect();
        let of_loss = gradients(&mut graph, loss, &parameters, scale, GRADIENT_OPS)?;
        let mut gradients = Vec::with_capacity(parameters.len());
        for (position, gradient) in of_loss.into_iter().enumerate() {
            gradients.push(match graph.parameters()[position].role {
                Role::Statistic => observed(&mut graph, position, scale)?,
                _ => gradient.expect("the loss depends on every parameter"),
            });
        }
        share_channel_sums(&mut graph, &mut gradients);
        Ok(Self { graph, image, labels, logits: net.logits, loss, gradients, layers: net.layers, forward })
    }
}

/// The statistic of the batch that a parameter follows, times `scale`: the passes of a step add up to their mean.
fn observed(graph: &mut Graph, position: usize, factor: f32) -> Result<ValueId, ShapeError> {
    let parameter = &graph.parameters()[position];
    let batch = parameter.observed.expect("a statistic follows one of the batch");
    let name = format!("{}.batch", parameter.name);
    if factor == 1.0 {
        return Ok(batch);
    }
    graph.set_scope(name);
    graph.add(Scale { factor }, &[batch])
}

/// A network that predicts.
#[derive(Debug)]
pub struct InferenceGraph {
    /// Forward pass.
    pub graph: Graph,
    /// Image `[N, D, H, W, in_channels]`.
    pub image: ValueId,
    /// Logits `[N, D, H, W, classes]`.
    pub logits: ValueId,
    /// Softmax or sigmoid of the logits, as the network's [`Activation`](super::Activation) says.
    pub probabilities: ValueId,
    /// Layers with weights.
    pub layers: Vec<Layer>,
}

impl InferenceGraph {
    /// The graph for `batch` samples of `extents` `[D, H, W]`.
    ///
    /// # Errors
    /// [`ShapeError`] when an operation is not defined on the shapes that come up.
    pub fn new(network: &Network, batch: usize, extents: [usize; 3]) -> Result<Self, ShapeError> {
        let mut graph = Graph::new();
        let [d, h, w] = extents;
        let image = graph.input("image", TensorSpec::f32([batch, d, h, w, network.in_channels]));
        let net = network.append(&mut graph, image, Mode::Inference)?;
        let probabilities = network.activation.append(&mut graph, net.logits)?;
        Ok(Self { graph, image, logits: net.logits, probabilities, layers: net.layers })
    }
}
