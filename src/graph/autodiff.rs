use super::{Graph, Node, Op};
use crate::tensor::{ShapeError, TensorSpec, ValueId};
use std::collections::HashMap;

/// The two operations that differentiation itself needs.
#[derive(Debug, Clone, Copy)]
pub struct GradientOps {
    /// A tensor of one constant: the gradient of the loss with respect to itself.
    pub fill: fn(spec: TensorSpec, value: f32) -> Box<dyn Op>,
    /// The sum of two contributions to one gradient.
    pub add: fn() -> Box<dyn Op>,
}

/// Appends the backward pass of `loss` and returns its gradient with respect to each value of `wrt`, scaled by `seed`;
/// `None` where the loss does not depend on it.
///
/// Reverse accumulation (Griewank and Walther, *Evaluating Derivatives*, section 3.2): nodes are visited last to first
/// and each appends its vector-Jacobian product.
///
/// # Errors
/// [`ShapeError`] of an operation that has no gradient.
pub fn gradients(
    graph: &mut Graph,
    loss: ValueId,
    wrt: &[ValueId],
    seed: f32,
    ops: GradientOps,
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let spec = graph.spec(loss).clone();
    graph.set_scope("loss.grad");
    graph.set_stage(None);
    let seed = graph.append((ops.fill)(spec, seed), &[])?[0];
    vector_jacobian(graph, loss, seed, wrt, ops)
}

/// Like [`gradients`] for any value and an upstream gradient that is already in the graph: the vector-Jacobian product
/// of `value` with `upstream`.
///
/// # Errors
/// [`ShapeError`] of an operation that has no gradient.
pub fn vector_jacobian(
    graph: &mut Graph,
    value: ValueId,
    upstream: ValueId,
    wrt: &[ValueId],
    ops: GradientOps,
) -> Result<Vec<Option<ValueId>>, ShapeError> {
    let needed = dependents(graph, wrt);
    let mut table = HashMap::from([(value, upstream)]);
    for node in (0..graph.nodes().len()).rev() {
        let outputs = &graph.nodes()[node].outputs;
        if outputs.iter().any(|o| table.contains_key(o) && needed[o.index()]) {
            differentiate(graph, node, &needed, &mut table, ops)?;
        }
    }
    graph.set_stage(None);
    Ok(wrt.iter().map(|v| table.get(v).copied()).collect())
}

/// Which values depend on one of `wrt`.
fn dependents(graph: &Graph, wrt: &[ValueId]) -> Vec<bool> {
    let mut needed = vec![false; graph.values().len()];
    for value in wrt {
        needed[value.index()] = true;
    }
    for node in graph.nodes() {
        if node.inputs.iter().any(|i| needed[i.index()]) {
            for output in &node.outputs {
                needed[output.index()] = true;
            }
        }
    }
    needed
}

fn differentiate(
    graph: &mut Graph,
    node: usize,
    needed: &[bool],
    table: &mut HashMap<ValueId, ValueId>,
    ops: GradientOps,
) -> Result<(), ShapeError> {
    let Node { op, name, stage, inputs, outputs } = graph.nodes()[node].clone();
    graph.set_scope(format!("{name}.grad"));
    graph.set_stage(stage.as_deref());
    let mut at = Vjp {
        inputs: &inputs,
        outputs: &outputs,
        grad_outputs: outputs.iter().map(|o| table.get(o).copied()).collect(),
        needed,
        contributions: Vec::new(),
        graph,
    };
    op.vjp(&mut at)?;
    for (input, gradient) in at.contributions {
        let total = match table.get(&input) {
            Some(&present) => graph.append((ops.add)(), &[present, gradient])?[0],
            None => gradient,
        };
        table.insert(input, total);
    }
    Ok(())
}

/// Where an operation appends its vector-Jacobian product.
#[derive(Debug)]
pub struct Vjp<'a> {
    graph: &'a mut Graph,
    inputs: &'a [ValueId],
    outputs: &'a [ValueId],
    grad_outputs: Vec<Option<ValueId>>,
    needed: &'a [bool],
    contributions: Vec<(ValueId, ValueId)>,
}

impl Vjp<'_> {
    /// Input `i` of the node.
    pub fn input(&self, i: usize) -> ValueId {
        self.inputs[i]
    }

    /// Number of inputs of the node.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Spec of input `i`.
    pub fn input_spec(&self, i: usize) -> &TensorSpec {
        self.graph.spec(self.inputs[i])
    }

    /// Output `i` of the node.
    pub fn output(&self, i: usize) -> ValueId {
        self.outputs[i]
    }

    /// Spec of output `i`.
    pub fn output_spec(&self, i: usize) -> &TensorSpec {
        self.graph.spec(self.outputs[i])
    }

    /// Gradient of the loss with respect to output 0.
    ///
    /// # Panics
    /// When the loss does not depend on output 0: operations of this crate differentiate through their first output.
    pub fn grad_output(&self) -> ValueId {
        self.grad_outputs[0].expect("differentiated through the first output")
    }

    /// Whether the gradient of input `i` is wanted.
    pub fn needs(&self, i: usize) -> bool {
        self.needed[self.inputs[i].index()]
    }

    /// Appends a node with one output.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn add(&mut self, op: impl Op + 'static, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        self.graph.add(op, inputs)
    }

    /// Appends a node with several outputs.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn append(&mut self, op: impl Op + 'static, inputs: &[ValueId]) -> Result<Vec<ValueId>, ShapeError> {
        self.graph.append(Box::new(op), inputs)
    }

    /// Appends a node whose one output is added to the gradient of input `i`, if that is wanted.
    ///
    /// # Errors
    /// [`ShapeError`] of the operation.
    pub fn contribute_node(&mut self, i: usize, op: impl Op + 'static, inputs: &[ValueId]) -> Result<(), ShapeError> {
        if self.needs(i) {
            let gradient = self.add(op, inputs)?;
            self.contribute(i, gradient);
        }
        Ok(())
    }

    /// Adds `gradient` to the gradient of input `i`.
    pub fn contribute(&mut self, i: usize, gradient: ValueId) {
        self.contributions.push((self.inputs[i], gradient));
    }
}
