//! Normalisations and activation functions as ONNX operators.

use super::nodes::{Nodes, float, floats, integers, numbers};
use crate::graph::{Node, Op};
use crate::ops::{FoldNorm, LinearUnit, Moments, Normalise, NormaliseRunning, Prelu, Rectifier};
use crate::tensor::{HostTensor, ValueId};

/// Whether a value is read along the channels, and needs axes behind these: slopes of a PReLU, and weight and bias of the sum and
/// product after a group normalisation.
pub(super) fn is_slopes(node: &Node, value: ValueId) -> bool {
    let at = |position: usize| node.inputs.get(position) == Some(&value);
    match node.op_as::<Normalise>() {
        Some(Normalise { moments: Moments::Group(_), .. }) => at(1) || at(2) || at(3),
        Some(_) => at(3),
        None => (node.is::<Prelu>() && at(1)) || (node.is::<NormaliseRunning>() && at(5)),
    }
}

impl Nodes<'_> {
    /// Adds the operators of a normalisation or an activation function; false for any other node.
    pub(super) fn add_norm(&mut self, node: &Node) -> bool {
        if let Some(op) = node.op_as::<FoldNorm>() {
            self.fold(node, op);
        } else if let Some(unit) = node.op_as::<LinearUnit>() {
            let (op_type, attribute) = match *unit {
                LinearUnit::Leaky(0.0) => ("Relu", None),
                LinearUnit::Leaky(slope) => ("LeakyRelu", Some(float("alpha", slope))),
                LinearUnit::Exponential => ("Elu", Some(float("alpha", 1.0))),
            };
            let (name, input) = (self.name(node, op_type), self.inputs(node));
            let output = self.emit(op_type, name, input, attribute.into_iter().collect());
            self.set(node.outputs[0], output);
        } else if let Some(op) = node.op_as::<Normalise>() {
            let mut input = self.inputs(node);
            let slopes = (op.rectifier == Rectifier::Prelu).then(|| input.remove(3));
            let output = match op.moments {
                Moments::Group(groups) => self.group_norm(node, groups, op, input),
                _ => {
                    let name = self.inner_name(node, op.rectifier, "InstanceNormalization");
                    self.emit("InstanceNormalization", name, input, vec![float("epsilon", op.epsilon)])
                }
            };
            self.rectify(node, op.rectifier, output, slopes);
        } else if let Some(op) = node.op_as::<NormaliseRunning>() {
            let mut input = self.inputs(node);
            let slopes = (op.rectifier == Rectifier::Prelu).then(|| input.remove(5));
            let name = self.inner_name(node, op.rectifier, "BatchNormalization");
            let output = self.emit("BatchNormalization", name, input, vec![float("epsilon", op.epsilon)]);
            self.rectify(node, op.rectifier, output, slopes);
        } else {
            return false;
        }
        true
    }

    /// Name of the operator that normalises: the node's, unless a rectifier follows, which has that then.
    fn inner_name(&mut self, node: &Node, rectifier: Rectifier, op_type: &str) -> String {
        if rectifier == Rectifier::NONE { self.name(node, op_type) } else { format!("{}.normalised", node.name) }
    }

    /// What follows a normalisation, whose output is then the node's.
    fn rectify(&mut self, node: &Node, rectifier: Rectifier, normalised: String, slopes: Option<String>) {
        let (op_type, attribute) = match rectifier {
            Rectifier::NONE => return self.set(node.outputs[0], normalised),
            Rectifier::Leaky(0.0) => ("Relu", None),
            Rectifier::Leaky(slope) => ("LeakyRelu", Some(float("alpha", slope))),
            Rectifier::Prelu => ("PRelu", None),
        };
        let name = self.name(node, op_type);
        let input = [normalised].into_iter().chain(slopes).collect();
        let output = self.emit(op_type, name, input, attribute.into_iter().collect());
        self.set(node.outputs[0], output);
    }

    /// Group normalisation is no operator of this version: instance normalisation of the groups, as one channel each, and then the
    /// weight and bias of each channel, as PyTorch exports it.
    fn group_norm(&mut self, node: &Node, groups: usize, op: &Normalise, input: Vec<String>) -> String {
        let part = |what: &str| format!("{}.{what}", node.name);
        let [image, weight, bias] = <[String; 3]>::try_from(input).expect("an image, a weight and a bias");
        let count = i64::try_from(groups).expect("no more than channels");
        let shape = self.constant(numbers(part("groups"), &[0, count, -1]));
        let [ones, zeros] = [("ones", 1.0), ("zeros", 0.0)]
            .map(|(what, value)| self.constant(floats(part(what), integers(&[groups]), &vec![value; groups])));
        let extents = self.emit("Shape", part("shape"), vec![image.clone()], Vec::new());
        let grouped = self.emit("Reshape", part("grouped"), vec![image, shape], Vec::new());
        let epsilon = vec![float("epsilon", op.epsilon)];
        let normalised = self.emit("InstanceNormalization", part("instance"), vec![grouped, ones, zeros], epsilon);
        let restored = self.emit("Reshape", part("restored"), vec![normalised, extents], Vec::new());
        let scaled = self.emit("Mul", part("scaled"), vec![restored, weight], Vec::new());
        let name = self.inner_name(node, op.rectifier, "Add");
        self.emit("Add", name, vec![scaled, bias], Vec::new())
    }

    /// The weight and bias of a convolution that also normalises, as constants.
    fn fold(&mut self, node: &Node, op: &FoldNorm) {
        let inputs: Vec<HostTensor> = node.inputs.iter().map(|&value| self.parameter(value)).collect();
        let folded = op.reference(&inputs.iter().collect::<Vec<_>>());
        for (position, tensor) in folded.into_iter().enumerate() {
            let parameters = self.inference.graph.parameters();
            let of = parameters.iter().find(|p| p.value == node.inputs[position]).expect("a parameter");
            let (layout, name) = (of.layout, format!("{}.normalised", of.name));
            let data: Vec<f32> = tensor.data.iter().map(|&value| value as f32).collect();
            let shape = &tensor.spec.shape;
            let constant = floats(name, integers(&layout.torch_shape(shape)), &layout.to_torch(&data, shape));
            let name = self.constant(constant);
            self.set(node.outputs[position], name);
        }
    }
}
