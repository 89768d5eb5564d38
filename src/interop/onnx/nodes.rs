//! From the engine's operations to ONNX operators.

use super::norm::is_slopes;
use super::proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_STRING, AttributeProto, FLOAT, INT64, NodeProto,
    TensorProto,
};
use crate::graph::{Graph, Node};
use crate::interop::InteropError;
use crate::nn::{InferenceGraph, Model};
use crate::ops::{Conv3d, ConvTranspose3d};
use crate::tensor::{HostTensor, ValueId};
use std::any::Any;
use std::collections::{HashMap, HashSet};

/// Nodes and constants so far.
pub(super) struct Nodes<'a> {
    pub(super) inference: &'a InferenceGraph,
    model: &'a Model,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// ONNX name of each value.
    names: HashMap<ValueId, String>,
    taken: HashSet<String>,
}

impl<'a> Nodes<'a> {
    /// The operators from the image to the logits.
    ///
    /// # Errors
    /// [`InteropError::Operation`] when ONNX has no operator for one of the operations here.
    pub(super) fn of(inference: &'a InferenceGraph, model: &'a Model) -> Result<Self, InteropError> {
        let graph = &inference.graph;
        let mut names = HashMap::from([(inference.image, "image".to_owned())]);
        names.extend(graph.parameters().iter().map(|p| (p.value, p.name.clone())));
        let nodes = needed(graph, inference.logits);
        let of_channels = nodes.iter().flat_map(|node| node.inputs.iter().filter(|&&v| is_slopes(node, v)));
        let slopes: HashSet<&String> = of_channels.map(|slopes| &names[slopes]).collect();
        // Auxiliary heads have weights that prediction does not use.
        let used: HashSet<&String> = nodes.iter().flat_map(|n| &n.inputs).filter_map(|v| names.get(v)).collect();
        let constants = model.tensors.iter().filter(|(name, _)| used.contains(name)).map(|(name, tensor)| {
            let mut dims = integers(&tensor.shape);
            if slopes.contains(name) {
                // Broadcast along the channels: axes are aligned at the end.
                dims.extend([1; 3]);
            }
            floats(name.clone(), dims, &tensor.data)
        });
        let constants = constants.collect();
        let mut all = Self { inference, model, nodes: Vec::new(), constants, names, taken: HashSet::new() };
        nodes.into_iter().try_for_each(|node| all.add(node))?;
        Ok(all)
    }

    /// Operators and constants, weights among them; parameters that nothing reads are left out.
    pub(super) fn finish(self) -> (Vec<NodeProto>, Vec<TensorProto>) {
        let used: HashSet<&String> = self.nodes.iter().flat_map(|node| &node.input).collect();
        let constants = self.constants.iter().filter(|constant| used.contains(&constant.name)).cloned().collect();
        (self.nodes, constants)
    }

    fn add(&mut self, node: &Node) -> Result<(), InteropError> {
        if self.add_norm(node) {
            return Ok(());
        }
        let mut input = self.inputs(node);
        let (op_type, attribute) = match node.op.name() {
            "conv3d" => ("Conv", self.window(node)),
            "conv_transpose3d" => ("ConvTranspose", self.window(node)),
            "prelu" => ("PRelu", Vec::new()),
            "add" => ("Add", Vec::new()),
            "concat_channels" => ("Concat", vec![integer("axis", 1)]),
            "tile_channels" => {
                input.push(self.channel_indices(node));
                ("Gather", vec![integer("axis", 1)])
            }
            "avg_pool" => ("AveragePool", self.pooling(node)),
            "upsample_nearest" | "upsample_linear" => {
                // No region of interest, then the scales.
                input.extend([String::new(), self.scales(node)]);
                ("Resize", resizing(node))
            }
            operation => return Err(InteropError::Operation { operation }),
        };
        let name = self.name(node, op_type);
        self.emit(op_type, name.clone(), input, attribute);
        self.names.insert(node.outputs[0], name);
        Ok(())
    }

    /// ONNX names of a node's arguments.
    pub(super) fn inputs(&self, node: &Node) -> Vec<String> {
        node.inputs.iter().map(|value| self.names[value].clone()).collect()
    }

    /// Says where an output of a node is.
    pub(super) fn set(&mut self, output: ValueId, name: String) {
        self.names.insert(output, name);
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone();
        self.constants.push(tensor);
        name
    }

    /// Adds an operator with one output, which has its name, and returns that.
    pub(super) fn emit(
        &mut self,
        op_type: &str,
        name: String,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = vec![name.clone()];
        self.nodes.push(NodeProto { input, output, name: name.clone(), op_type: op_type.to_owned(), attribute });
        name
    }

    /// A parameter of the model as the engine has it, in f64.
    pub(super) fn parameter(&self, value: ValueId) -> HostTensor {
        let graph = &self.inference.graph;
        let parameter = graph.parameters().iter().find(|p| p.value == value).expect("a parameter");
        let spec = graph.spec(value);
        let data = parameter.layout.from_torch(&self.model.tensors[&parameter.name].data, &spec.shape);
        HostTensor::new(spec.clone(), data.into_iter().map(f64::from).collect())
    }

    /// `logits` for the last node; else the layer's name, and for what is not named for itself also the operator.
    pub(super) fn name(&mut self, node: &Node, op_type: &str) -> String {
        let mut name = match node.outputs[0] == self.inference.logits {
            true => "logits".to_owned(),
            false => node.name.clone(),
        };
        if !self.taken.insert(name.clone()) {
            name = format!("{name}.{}", op_type.to_lowercase());
            assert!(self.taken.insert(name.clone()), "{name} occurs twice");
        }
        name
    }

    /// Kernel, strides and paddings of a convolution or a transposed one, along D, H, W.
    fn window(&self, node: &Node) -> Vec<AttributeProto> {
        let kernel = &self.inference.graph.spec(node.inputs[1]).shape[..3];
        let op: &dyn Any = &*node.op;
        let (stride, padding) = match (op.downcast_ref::<Conv3d>(), op.downcast_ref::<ConvTranspose3d>()) {
            (Some(op), _) => (op.stride, op.padding),
            (None, Some(op)) => (op.stride, [0; 3]),
            (None, None) => unreachable!("{} has no window", node.op.name()),
        };
        let pads = [padding, padding].concat();
        [("kernel_shape", kernel), ("strides", &stride), ("pads", &pads)]
            .map(|(name, values)| integer_list(name, integers(values)))
            .to_vec()
    }

    /// By what the larger of two activations exceeds the smaller, along D, H, W.
    fn factors(&self, larger: ValueId, smaller: ValueId) -> [usize; 3] {
        let extents = |value| self.inference.graph.spec(value).spatial("onnx").expect("an activation");
        let (larger, smaller) = (extents(larger), extents(smaller));
        std::array::from_fn(|axis| larger[axis] / smaller[axis])
    }

    /// Windows that do not overlap.
    fn pooling(&self, node: &Node) -> Vec<AttributeProto> {
        let window = self.factors(node.inputs[0], node.outputs[0]);
        ["kernel_shape", "strides"].map(|name| integer_list(name, integers(&window))).to_vec()
    }

    /// The constant with the factors of N, C, D, H, W.
    fn scales(&mut self, node: &Node) -> String {
        let [d, h, w] = self.factors(node.outputs[0], node.inputs[0]);
        let name = format!("{}.scales", node.name);
        let raw_data = [1, 1, d, h, w].into_iter().flat_map(|factor| (factor as f32).to_le_bytes()).collect();
        self.constants.push(TensorProto { dims: vec![5], data_type: FLOAT, name: name.clone(), raw_data });
        name
    }

    /// The constant that repeats channels: output channel c is input channel c mod Cin.
    fn channel_indices(&mut self, node: &Node) -> String {
        let channels = |value| self.inference.graph.spec(value).channels();
        let (from, to) = (channels(node.inputs[0]), channels(node.outputs[0]));
        let name = format!("{}.channels", node.name);
        let indices: Vec<i64> = (0..to as i64).map(|c| c % from as i64).collect();
        self.constant(numbers(name, &indices))
    }
}

/// The nodes that a value depends on, in order.
fn needed(graph: &Graph, value: ValueId) -> Vec<&Node> {
    let mut needed = HashSet::from([value]);
    let mut nodes: Vec<&Node> = Vec::new();
    for node in graph.nodes().iter().rev().filter(|node| !node.outputs.is_empty()) {
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(&node.inputs);
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

/// A constant of floats.
pub(super) fn floats(name: String, dims: Vec<i64>, data: &[f32]) -> TensorProto {
    let raw_data = data.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { dims, data_type: FLOAT, name, raw_data }
}

/// A constant of integers along one axis.
pub(super) fn numbers(name: String, data: &[i64]) -> TensorProto {
    let raw_data = data.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { dims: integers(&[data.len()]), data_type: INT64, name, raw_data }
}

pub(super) fn integers(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&v| i64::try_from(v).expect("an extent")).collect()
}

/// PyTorch's definitions of both ways to up-sample.
fn resizing(node: &Node) -> Vec<AttributeProto> {
    let (mode, transformation) = match node.op.name() {
        "upsample_nearest" => ("nearest", "asymmetric"),
        _ => ("linear", "half_pixel"),
    };
    let mut attributes = vec![text("mode", mode), text("coordinate_transformation_mode", transformation)];
    if mode == "nearest" {
        attributes.push(text("nearest_mode", "floor"));
    }
    attributes
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: name.to_owned(), s: value.into(), r#type: ATTRIBUTE_STRING, ..AttributeProto::default() }
}

fn integer(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, ATTRIBUTE_INT) }
}

fn integer_list(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { ints, ..attribute(name, ATTRIBUTE_INTS) }
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, ATTRIBUTE_FLOAT) }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type, ..AttributeProto::default() }
}
