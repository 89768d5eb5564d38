use super::{Layer, Loss, Mode, Network, Objective};
use crate::graph::{Graph, Parameter, Role, gradients};
use crate::ops::{Fill, GRADIENT_OPS, Scale, share_channel_sums};
use crate::random::{Purpose, Stream};
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
    /// Input `u32 [N, 2]` with a key for each sample ([`dropout_key`]), where the network has dropout.
    pub dropout: Option<ValueId>,
    /// Loss `[1]` of the batch.
    pub loss: ValueId,
    /// Gradient of each parameter that is not frozen, in the graph's order ([`Graph::trained`]); of a statistic that of the batch, times
    /// the scale of the loss.
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
        Self::of_objective(network, loss.into(), batch, extents, scale)
    }

    /// As [`TrainingGraph::new`], of a loss with weights.
    ///
    /// # Errors
    /// As [`TrainingGraph::minimising`].
    pub fn of_objective(
        network: &Network,
        objective: Objective<'_>,
        batch: usize,
        extents: [usize; 3],
        scale: f32,
    ) -> Result<Self, ShapeError> {
        let mut graph = Graph::new();
        let inputs = Self::inputs(&mut graph, network, batch, extents);
        Self::minimising(graph, network, objective, inputs, scale)
    }

    /// Adds image and labels as inputs to a graph, for [`TrainingGraph::minimising`].
    pub fn inputs(graph: &mut Graph, network: &Network, batch: usize, [d, h, w]: [usize; 3]) -> (ValueId, ValueId) {
        let image = graph.input("image", TensorSpec::f32([batch, d, h, w, network.in_channels]));
        (image, graph.input("labels", TensorSpec::u32([batch, d, h, w])))
    }

    /// As [`TrainingGraph::of_objective`], in a graph that already makes the image and the labels.
    ///
    /// # Errors
    /// [`ShapeError`] when an operation is not defined on the shapes that come up, or there are not as many weights as
    /// outputs or resolutions.
    pub fn minimising(
        mut graph: Graph,
        network: &Network,
        objective: Objective<'_>,
        (image, labels): (ValueId, ValueId),
        scale: f32,
    ) -> Result<Self, ShapeError> {
        let net = network.append(&mut graph, image, Mode::Training)?;
        let loss = objective.append(&mut graph, network, &net, labels)?;
        let forward = graph.nodes().len();
        let trained: Vec<usize> = graph.trained().map(|(position, _)| position).collect();
        let parameters: Vec<ValueId> = graph.trained().map(|(_, p)| p.value).collect();
        let of_loss = gradients(&mut graph, loss, &parameters, scale, GRADIENT_OPS)?;
        let unused = objective.leaves_out_a_head(1 + net.auxiliary.len());
        let mut gradients = Vec::with_capacity(parameters.len());
        for (position, gradient) in trained.into_iter().zip(of_loss) {
            let Parameter { role, value, .. } = graph.parameters()[position];
            gradients.push(match (role, gradient) {
                (Role::Statistic, _) => observed(&mut graph, position, scale)?,
                (_, Some(gradient)) => gradient,
                (_, None) => {
                    assert!(unused, "the loss depends on every parameter");
                    nothing(&mut graph, value)?
                }
            });
        }
        share_channel_sums(&mut graph, &mut gradients);
        let (logits, dropout, layers) = (net.logits, net.dropout, net.layers);
        Ok(Self { graph, image, labels, logits, dropout, loss, gradients, layers, forward })
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

/// The gradient of a parameter of a head that has no part in the loss.
fn nothing(graph: &mut Graph, parameter: ValueId) -> Result<ValueId, ShapeError> {
    let spec = graph.spec(parameter).clone();
    graph.set_scope("loss.grad");
    graph.add(Fill { spec, value: 0.0 }, &[])
}

/// What dropout draws from for a sample: a pure function of the seed and the sample's number, counted from 0 over all steps, so
/// that a resumed training and one in other passes drop the same.
pub fn dropout_key(seed: u64, sample: u64) -> [u32; 2] {
    let mut stream = Stream::new(seed, Purpose::Dropout, sample);
    [stream.word(), stream.word()]
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
