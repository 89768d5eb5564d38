//! From the engine's operations to ONNX operators.

use super::proto::{ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto, FLOAT, INT64, NodeProto, TensorProto};
use crate::graph::Node;
use crate::interop::InteropError;
use crate::nn::{InferenceGraph, Model};
use crate::tensor::ValueId;
use std::collections::{HashMap, HashSet};

/// Nodes and constants so far.
pub(super) struct Nodes<'a> {
    inference: &'a InferenceGraph,
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
    pub(super) fn of(inference: &'a InferenceGraph, model: &Model) -> Result<Self, InteropError> {
        let graph = &inference.graph;
        let mut names = HashMap::from([(inference.image, "image".to_owned())]);
        names.extend(graph.parameters().iter().map(|p| (p.value, p.name.clone())));
        let slopes = graph.nodes().iter().filter(|n| n.op.name() == "prelu").map(|n| &names[&n.inputs[1]]);
        let slopes: HashSet<&String> = slopes.collect();
        let constants = model.tensors.iter().map(|(name, tensor)| {
            let mut dims = integers(&tensor.shape);
            if slopes.contains(name) {
                // Broadcast along the channels: PRelu aligns axes at the end.
                dims.extend([1; 3]);
            }
            let raw_data = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
            TensorProto { dims, data_type: FLOAT, name: name.clone(), raw_data }
        });
        let constants = constants.collect();
        let mut all = Self { inference, nodes: Vec::new(), constants, names, taken: HashSet::new() };
        let mut nodes = graph.nodes().iter().filter(|node| node.outputs[0] != inference.probabilities);
        nodes.try_for_each(|node| all.add(node))?;
        Ok(all)
    }

    /// Operators and constants, weights among them.
    pub(super) fn finish(self) -> (Vec<NodeProto>, Vec<TensorProto>) {
        (self.nodes, self.constants)
    }

    fn add(&mut self, node: &Node) -> Result<(), InteropError> {
        let mut input: Vec<String> = node.inputs.iter().map(|value| self.names[value].clone()).collect();
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
            operation => return Err(InteropError::Operation { operation }),
        };
        let name = self.name(node, op_type);
        self.names.insert(node.outputs[0], name.clone());
        let (output, op_type) = (vec![name.clone()], op_type.to_owned());
        self.nodes.push(NodeProto { input, output, name, op_type, attribute });
        Ok(())
    }

    /// `logits` for the last node; else the layer's name, and for what is not named for itself also the operator.
    fn name(&mut self, node: &Node, op_type: &str) -> String {
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
        let graph = &self.inference.graph;
        let extents = |value| graph.spec(value).spatial("onnx").expect("an activation");
        let (from, to) = (extents(node.inputs[0]), extents(node.outputs[0]));
        let kernel: [usize; 3] = graph.spec(node.inputs[1]).shape[..3].try_into().expect("three axes");
        let (large, small) = if node.op.name() == "conv3d" { (from, to) } else { (to, from) };
        let strides: [usize; 3] = std::array::from_fn(|axis| large[axis].div_ceil(small[axis]));
        // Rounded up: of an even extent, a stride of 2 leaves the last padding unread.
        let reach = |axis: usize| (small[axis] - 1) * strides[axis] + kernel[axis];
        let padding = |axis: usize| reach(axis).saturating_sub(large[axis]).div_ceil(2);
        let padding: [usize; 3] = std::array::from_fn(padding);
        let pads = [padding, padding].concat();
        [("kernel_shape", &kernel[..]), ("strides", &strides), ("pads", &pads)]
            .map(|(name, values)| integer_list(name, integers(values)))
            .to_vec()
    }

    /// The constant that repeats channels: output channel c is input channel c mod Cin.
    fn channel_indices(&mut self, node: &Node) -> String {
        let channels = |value| self.inference.graph.spec(value).channels();
        let (from, to) = (channels(node.inputs[0]), channels(node.outputs[0]));
        let name = format!("{}.channels", node.name);
        let raw_data = (0..to as i64).flat_map(|c| (c % from as i64).to_le_bytes()).collect();
        self.constants.push(TensorProto { dims: integers(&[to]), data_type: INT64, name: name.clone(), raw_data });
        name
    }
}

fn integers(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&v| i64::try_from(v).expect("an extent")).collect()
}

fn integer(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i, ints: Vec::new(), r#type: ATTRIBUTE_INT }
}

fn integer_list(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: 0, ints, r#type: ATTRIBUTE_INTS }
}
