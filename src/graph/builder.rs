use super::Op;
use crate::tensor::layout::ParameterLayout;
use crate::tensor::{ShapeError, TensorSpec, ValueId};
use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub struct Value {
    /// Shape and element type.
    pub spec: TensorSpec,
    /// Name for reports: that of the input, the parameter or the node.
    pub name: String,
}

/// An operation applied to values.
#[derive(Debug, Clone)]
pub struct Node {
    /// What is computed.
    pub op: Arc<dyn Op>,
    /// Scope in the network, e.g. `encoder.1.conv.0`.
    pub name: String,
    /// Stage of the network that it belongs to ([`Graph::set_stage`]).
    pub stage: Option<Arc<str>>,
    /// Arguments.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// Whether the operation is an `O`.
    pub fn is<O: Op>(&self) -> bool {
        self.op_as::<O>().is_some()
    }

    /// The operation, if it is an `O`.
    pub fn op_as<O: Op>(&self) -> Option<&O> {
        let op: &dyn Any = &*self.op;
        op.downcast_ref()
    }
}

/// What a parameter starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// Every element is this.
    Constant(f32),
    /// Normal with mean 0 and variance `2 / fan_in` (He et al. 2015, equation 10, as PyTorch's `kaiming_normal_`).
    He {
        /// Products that are summed for one output.
        fan_in: usize,
        /// Whether the layer makes the logits: its weights are scaled by the gain that the training gives for them.
        head: bool,
    },
}

impl Initial {
    /// The rule for a parameter of this device shape: weights normal with their fan-in, vectors zero.
    fn of_layout(layout: ParameterLayout, shape: &[usize]) -> Self {
        match layout {
            ParameterLayout::Vector => Self::Constant(0.0),
            // A 2x2x2 transposed convolution with stride 2 has one tap per output.
            ParameterLayout::TransposedConvolution => Self::He { fan_in: shape.get(3).map_or(1, |&c| c), head: false },
            ParameterLayout::Convolution => Self::He { fan_in: shape.iter().rev().skip(1).product(), head: false },
        }
    }

    /// The same rule for the layer that makes the logits.
    #[must_use]
    pub fn of_head(self) -> Self {
        match self {
            Self::He { fan_in, .. } => Self::He { fan_in, head: true },
            constant @ Self::Constant(_) => constant,
        }
    }
}

/// What moves a parameter from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The optimiser, with weight decay.
    Decayed,
    /// The optimiser, without weight decay.
    Trained,
    /// No optimiser: it follows a statistic of the batches ([`Graph::observe`]).
    Statistic,
}

impl Role {
    /// All, in the order in which parameters lie in an arena.
    pub const ALL: [Self; 3] = [Self::Decayed, Self::Trained, Self::Statistic];
}

/// A tensor that a checkpoint holds.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name in checkpoints.
    pub name: String,
    /// Its value in the graph.
    pub value: ValueId,
    /// Order of the axes in checkpoints.
    pub layout: ParameterLayout,
    /// What moves it.
    pub role: Role,
    /// Whether it stays as it is in a training ([`Graph::freeze`]).
    pub frozen: bool,
    /// What it starts from.
    pub initial: Initial,
    /// The statistic of the batch that it follows, with [`Role::Statistic`] in a graph for training.
    pub observed: Option<ValueId>,
}

/// A network: values, and nodes in an executable order.
///
/// ```
/// use vnet_engine::graph::{Graph, interpret};
/// use vnet_engine::ops::Add;
/// use vnet_engine::tensor::{HostTensor, TensorSpec};
///
/// let mut graph = Graph::new();
/// let x = graph.input("x", TensorSpec::f32([1, 2, 3, 4, 2]));
/// let y = graph.add(Add, &[x, x])?;
/// let feeds = [(x, HostTensor::from_fn([1, 2, 3, 4, 2], |i| i as f64))].into();
/// assert_eq!(interpret(&graph, &feeds)?[y.index()].data[5], 10.0);
///
/// let other = graph.input("other", TensorSpec::f32([1, 2, 3, 4, 3]));
/// let error = graph.add(Add, &[x, other]).unwrap_err();
/// assert_eq!(error.op, "add");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    parameters: Vec<Parameter>,
    scope: String,
    stage: Option<Arc<str>>,
    /// Names of the parameters that are frozen when they are added.
    frozen: BTreeSet<String>,
}

impl Graph {
    /// A graph without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input, written before each run.
    pub fn input(&mut self, name: &str, spec: TensorSpec) -> ValueId {
        let id = self.value(spec, name.to_owned());
        self.inputs.push(id);
        id
    }

    /// Parameters of these names that are added from here on stay as they are in a training: they have no gradient, and nothing of
    /// the backward pass is computed that only they need. Statistics follow the batches all the same.
    pub fn freeze(&mut self, names: BTreeSet<String>) {
        self.frozen = names;
    }

    /// Adds a trained tensor of this device shape: weights start normal with their fan-in ([`Initial::He`]), vectors at zero.
    pub fn parameter(&mut self, name: &str, shape: &[usize], layout: ParameterLayout, decay: bool) -> ValueId {
        let role = if decay { Role::Decayed } else { Role::Trained };
        self.declare(name, shape, layout, role)
    }

    /// Adds a vector of `len` elements that no optimiser moves, which starts from a constant.
    pub fn statistic(&mut self, name: &str, len: usize, start: f32) -> ValueId {
        let value = self.declare(name, &[len], ParameterLayout::Vector, Role::Statistic);
        self.set_initial(value, |_| Initial::Constant(start));
        value
    }

    /// Lets a statistic follow `batch`, a value of the same size: after each step it moves a part of the way to it.
    ///
    /// # Panics
    /// When it is no statistic of the graph.
    pub fn observe(&mut self, statistic: ValueId, batch: ValueId) {
        let mut statistics = self.parameters.iter_mut().filter(|p| p.role == Role::Statistic);
        let found = statistics.find(|p| p.value == statistic).expect("a statistic of the graph");
        found.observed = Some(batch);
    }

    fn declare(&mut self, name: &str, shape: &[usize], layout: ParameterLayout, role: Role) -> ValueId {
        let initial = Initial::of_layout(layout, shape);
        let value = self.value(TensorSpec::f32(shape), name.to_owned());
        // A training normalises by the batch, so the statistics that predictions take its place with follow it.
        let (name, frozen) = (name.to_owned(), role != Role::Statistic && self.frozen.contains(name));
        self.parameters.push(Parameter { name, value, layout, role, frozen, initial, observed: None });
        value
    }

    /// Lets a parameter start from what `change` makes of its rule.
    ///
    /// # Panics
    /// When the value is no parameter.
    pub fn set_initial(&mut self, parameter: ValueId, change: impl FnOnce(Initial) -> Initial) {
        let found = self.parameters.iter_mut().rfind(|p| p.value == parameter).expect("a parameter of the graph");
        found.initial = change(found.initial);
    }

    /// Puts the nodes that are appended from here on into a stage of the network, of which recomputation may drop the
    /// activations; `None`: into none. A node of the backward pass is in the stage of the node that it differentiates.
    pub fn set_stage(&mut self, stage: Option<&str>) {
        self.stage = stage.map(Arc::from);
    }

    /// Names the nodes that are appended from here on.
    pub fn set_scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Appends a node with one output.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn add(&mut self, op: impl Op + 'static, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        self.append(Box::new(op), inputs).map(|outputs| outputs[0])
    }

    /// Appends a node.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn append(&mut self, op: Box<dyn Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>, ShapeError> {
        self.append_shared(op.into(), inputs)
    }

    /// As [`Graph::append`], of an operation that others keep, too.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn append_shared(&mut self, op: Arc<dyn Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>, ShapeError> {
        let specs: Vec<&TensorSpec> = inputs.iter().map(|&v| self.spec(v)).collect();
        let outputs: Vec<ValueId> =
            op.infer(&specs)?.into_iter().map(|spec| self.value(spec, self.scope.clone())).collect();
        self.nodes.push(Node {
            op,
            name: self.scope.clone(),
            stage: self.stage.clone(),
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        });
        Ok(outputs)
    }

    /// Appends the operation of a node once more, on other inputs.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn append_again(&mut self, node: &Node, inputs: &[ValueId]) -> Result<Vec<ValueId>, ShapeError> {
        self.append_shared(Arc::clone(&node.op), inputs)
    }

    fn value(&mut self, spec: TensorSpec, name: String) -> ValueId {
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.values.push(Value { spec, name });
        ValueId(id)
    }

    /// A value of the same spec as another.
    pub(super) fn value_like(&mut self, value: ValueId, name: &str) -> ValueId {
        self.value(self.spec(value).clone(), name.to_owned())
    }

    /// Lets every node that reads a key read its value of the map instead. A value that nothing reads any more keeps its node,
    /// which plans leave out.
    pub(crate) fn replace_uses(&mut self, replacements: &HashMap<ValueId, ValueId>) {
        for input in self.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
            *input = replacements.get(input).copied().unwrap_or(*input);
        }
    }

    /// The nodes, which the caller puts back with [`Graph::push_node`].
    pub(super) fn take_nodes(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.nodes)
    }

    /// Appends a node whose outputs are values of this graph already.
    pub(super) fn push_node(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// Spec of a value.
    pub fn spec(&self, value: ValueId) -> &TensorSpec {
        &self.values[value.index()].spec
    }

    /// All values, by id.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All nodes in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The inputs in order of creation.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The parameters in order of creation.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters that are not frozen, with their indices.
    pub fn trained(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.parameters.iter().enumerate().filter(|(_, parameter)| !parameter.frozen)
    }
}
