//! The exported graph, decoded again: its structure, and what it computes by the definitions of ONNX's operators.

use super::supervised::Supervised;
use super::{model, network, noise};
use crate::support::normed::{Normed, PAIRS};
use prost::Message;
use std::collections::{HashMap, HashSet};
use vnet_engine::graph::interpret;
use vnet_engine::interop::proto::{self, Dimension, ModelProto, NodeProto, ValueInfoProto};
use vnet_engine::interop::{InteropError, OPSET, export_onnx};
use vnet_engine::nn::model::parameter_shapes;
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Activation, InferenceGraph, Model, Network};
use vnet_engine::tensor::layout::permute;
use vnet_engine::tensor::{HostTensor, TensorSpec};

pub const TESTS: [(&str, bool, fn()); 6] = [
    ("onnx_has_the_weights_by_their_names_and_open_axes", false, weights_and_axes),
    ("onnx_nodes_follow_what_they_use", false, nodes_in_order),
    ("onnx_operators_compute_what_the_engine_does", false, same_values),
    ("onnx_normalises_as_the_engine_does", false, normalises),
    ("onnx_changes_resolution_as_the_engine_does", false, resolutions),
    ("onnx_names_its_ending", false, ending),
];

fn exported(model: &Model) -> ModelProto {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    export_onnx(model, &path).expect("exported");
    ModelProto::decode(std::fs::read(&path).expect("read").as_slice()).expect("a message")
}

fn weights_and_axes() {
    let model = model(network());
    let file = exported(&model);
    assert_eq!((file.ir_version, file.opset_import.len(), file.opset_import[0].version), (8, 1, OPSET));
    const { assert!(OPSET >= 17) };
    let graph = file.graph.expect("a graph");
    let axes = |value: &ValueInfoProto| {
        let shape = value.r#type.clone().and_then(|t| t.tensor_type).and_then(|t| t.shape).expect("a shape");
        let text = |dim: Option<Dimension>| match dim.expect("known") {
            Dimension::DimValue(extent) => extent.to_string(),
            Dimension::DimParam(name) => name,
        };
        (value.name.clone(), shape.dim.into_iter().map(|d| text(d.value)).collect::<Vec<_>>().join(" "))
    };
    let values: Vec<_> = graph.input.iter().chain(&graph.output).map(axes).collect();
    let expected = [("image", "batch 2 depth height width"), ("logits", "batch 3 depth height width")];
    assert_eq!(values, expected.map(|(name, axes)| (name.to_owned(), axes.to_owned())));

    let shapes = parameter_shapes(&model.network);
    let weights: Vec<_> = graph.initializer.iter().filter(|t| t.data_type == proto::FLOAT).collect();
    assert_eq!(weights.iter().map(|t| &t.name).collect::<HashSet<_>>(), shapes.keys().collect());
    for tensor in weights {
        let mut expected = shapes[&tensor.name].clone();
        if tensor.name.contains("act") {
            expected.extend([1; 3]);
        }
        assert_eq!(tensor.dims, expected.iter().map(|&e| e as i64).collect::<Vec<_>>(), "{}", tensor.name);
        let bytes: Vec<u8> = model.tensors[&tensor.name].data.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(tensor.raw_data, bytes, "{}", tensor.name);
    }
    let metadata = |key: &str| {
        let entry = file.metadata_props.iter().find(|entry| entry.key == key);
        entry.unwrap_or_else(|| panic!("metadata has no {key}")).value.clone()
    };
    assert_eq!(metadata("extents_divide_by"), "4");
    assert_eq!(metadata("normalisation"), "z_score_all");
    assert_eq!(metadata("class_names"), r#"["a","\"b\"","c"]"#);
    let description: serde_json::Value = serde_json::from_str(&metadata("vnet_engine")).expect("JSON");
    assert_eq!(description["network"], serde_json::to_value(&model.network).expect("JSON"));
}

fn nodes_in_order() {
    let graph = exported(&model(network())).graph.expect("a graph");
    let mut known: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    known.insert("image".to_owned());
    let mut used = HashSet::new();
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input), "{} uses {input} before it is there", node.name);
            used.insert(input.clone());
        }
        assert!(known.insert(node.output[0].clone()), "{} is there already", node.output[0]);
    }
    let unused: Vec<&String> = known.iter().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, ["logits"]);
    let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
    // 7 convolutions of 5^3, 2 down, 1 head; an activation after each but the head; an addition per stage.
    let found = ["Conv", "ConvTranspose", "PRelu", "Add", "Concat", "Gather"].map(count);
    assert_eq!(found, [10, 2, 11, 5, 2, 1]);
    assert_eq!(graph.node.len(), found.iter().sum::<usize>());
}

/// A tensor `[C, D, H, W]` and its shape.
type Value = ([usize; 4], Vec<f64>);

/// ONNX's definitions for a batch of one, in plain loops.
struct Interpreter<'a> {
    constants: HashMap<&'a str, &'a proto::TensorProto>,
    values: HashMap<&'a str, Value>,
}

impl<'a> Interpreter<'a> {
    fn floats(&self, name: &str) -> Vec<f64> {
        let bytes = self.constants[name].raw_data.chunks_exact(4);
        bytes.map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("four bytes")))).collect()
    }

    /// A number per channel, for each element of a value; the axes behind the channels are there.
    fn by_channel(&self, name: &str, (shape, data): &Value) -> Vec<f64> {
        assert_eq!(self.constants[name].dims, [shape[0] as i64, 1, 1, 1]);
        let (channels, voxels) = (self.floats(name), data.len() / shape[0]);
        (0..data.len()).map(|i| channels[i / voxels]).collect()
    }

    fn run(&mut self, node: &'a NodeProto) {
        let input = &self.values[node.input[0].as_str()];
        let output = match node.op_type.as_str() {
            "Conv" => self.convolution(node, input),
            "ConvTranspose" => self.transposed(node, input),
            "PRelu" => {
                let (slopes, voxels) = (self.floats(&node.input[1]), input.1.len() / input.0[0]);
                let slope = |(i, &x): (usize, &f64)| if x < 0.0 { x * slopes[i / voxels] } else { x };
                (input.0, input.1.iter().enumerate().map(slope).collect())
            }
            "Add" | "Mul" => {
                let of = |a: f64, b: f64| if node.op_type == "Add" { a + b } else { a * b };
                let other = self.values.get(node.input[1].as_str()).map(|other| {
                    assert_eq!(input.0, other.0);
                    other.1.clone()
                });
                let other = other.unwrap_or_else(|| self.by_channel(&node.input[1], input));
                (input.0, input.1.iter().zip(other).map(|(&a, b)| of(a, b)).collect())
            }
            "Relu" => (input.0, input.1.iter().map(|x| x.max(0.0)).collect()),
            "LeakyRelu" => {
                let alpha = attribute(node, "alpha");
                (input.0, input.1.iter().map(|&x| if x < 0.0 { alpha * x } else { x }).collect())
            }
            "Elu" => {
                let alpha = attribute(node, "alpha");
                (input.0, input.1.iter().map(|&x| if x < 0.0 { alpha * (x.exp() - 1.0) } else { x }).collect())
            }
            "InstanceNormalization" => (
                input.0,
                normalised(
                    node,
                    input,
                    |row| {
                        let mean = row.iter().sum::<f64>() / row.len() as f64;
                        (mean, row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64)
                    },
                    [&node.input[1], &node.input[2]].map(|name| self.floats(name)),
                ),
            ),
            "BatchNormalization" => {
                let [mean, variance] = [&node.input[3], &node.input[4]].map(|name| self.floats(name));
                let mut channels = mean.into_iter().zip(variance);
                let affine = [&node.input[1], &node.input[2]].map(|name| self.floats(name));
                (input.0, normalised(node, input, |_| channels.next().expect("a channel"), affine))
            }
            // What is needed of it: the shape, for a Reshape back.
            "Shape" => (input.0, Vec::new()),
            "Reshape" => match self.values.get(node.input[1].as_str()) {
                Some((shape, _)) => (*shape, input.1.clone()),
                None => {
                    let numbers = self.constants[node.input[1].as_str()].raw_data.chunks_exact(8);
                    let numbers: Vec<i64> =
                        numbers.map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
                    let [0, groups, -1] = numbers[..] else { panic!("{numbers:?}") };
                    ([groups as usize, input.1.len() / groups as usize, 1, 1], input.1.clone())
                }
            },
            "Concat" => {
                let other = &self.values[node.input[1].as_str()];
                let shape = [input.0[0] + other.0[0], input.0[1], input.0[2], input.0[3]];
                (shape, [&input.1[..], &other.1].concat())
            }
            "Gather" => {
                let indices = self.constants[node.input[1].as_str()].raw_data.chunks_exact(8);
                let indices = indices.map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")) as usize);
                let voxels = input.1.len() / input.0[0];
                let data: Vec<f64> = indices.flat_map(|c| &input.1[c * voxels..][..voxels]).copied().collect();
                ([data.len() / voxels, input.0[1], input.0[2], input.0[3]], data)
            }
            "AveragePool" => average_pool(node, input),
            "Resize" => {
                let scales = self.floats(&node.input[2]);
                assert!(node.input[1].is_empty() && scales[..2] == [1.0, 1.0]);
                resize(node, input, [scales[2] as usize, scales[3] as usize, scales[4] as usize])
            }
            other => panic!("{other} is not expected"),
        };
        self.values.insert(&node.output[0], output);
    }

    /// Kernel, stride and padding, the same along all axes.
    fn window(node: &NodeProto) -> [usize; 3] {
        ["kernel_shape", "strides", "pads"].map(|name| {
            let attribute = node.attribute.iter().find(|a| a.name == name).expect("an attribute");
            assert!(
                attribute.r#type == proto::ATTRIBUTE_INTS && attribute.ints.iter().all(|i| *i == attribute.ints[0])
            );
            attribute.ints[0] as usize
        })
    }

    /// Weight, bias and the two extents of channels.
    fn weights(&self, node: &NodeProto) -> (Vec<f64>, Vec<f64>, [usize; 2]) {
        let dims = &self.constants[node.input[1].as_str()].dims;
        (self.floats(&node.input[1]), self.floats(&node.input[2]), [dims[0] as usize, dims[1] as usize])
    }

    fn convolution(&self, node: &NodeProto, (shape, x): &Value) -> Value {
        let [kernel, stride, pad] = Self::window(node);
        let (weight, bias, [outputs, inputs]) = self.weights(node);
        assert_eq!(inputs, shape[0]);
        let extents: [usize; 3] = std::array::from_fn(|a| (shape[a + 1] + 2 * pad - kernel) / stride + 1);
        let mut y = Vec::new();
        for_each_voxel([outputs, extents[0], extents[1], extents[2]], |o, at| {
            let mut sum = bias[o];
            for_each_voxel([inputs, kernel, kernel, kernel], |i, tap| {
                let from: [usize; 3] = std::array::from_fn(|a| (at[a] * stride + tap[a]).wrapping_sub(pad));
                if (0..3).all(|a| from[a] < shape[a + 1]) {
                    sum += weight[flat([i + o * inputs, tap[0], tap[1], tap[2]], [kernel; 3])]
                        * x[flat([i, from[0], from[1], from[2]], [shape[1], shape[2], shape[3]])];
                }
            });
            y.push(sum);
        });
        ([outputs, extents[0], extents[1], extents[2]], y)
    }

    /// Stride equal to the kernel, no padding: every output has one tap.
    fn transposed(&self, node: &NodeProto, (shape, x): &Value) -> Value {
        let [kernel, stride, pad] = Self::window(node);
        assert_eq!((kernel, pad), (stride, 0));
        let (weight, bias, [inputs, outputs]) = self.weights(node);
        let extents: [usize; 3] = std::array::from_fn(|a| shape[a + 1] * stride);
        let mut y = Vec::new();
        for_each_voxel([outputs, extents[0], extents[1], extents[2]], |o, at| {
            let term = |i: usize| {
                let [tap, from] = [at.map(|a| a % stride), at.map(|a| a / stride)];
                weight[flat([i * outputs + o, tap[0], tap[1], tap[2]], [kernel; 3])]
                    * x[flat([i, from[0], from[1], from[2]], [shape[1], shape[2], shape[3]])]
            };
            y.push(bias[o] + (0..inputs).map(term).sum::<f64>());
        });
        ([outputs, extents[0], extents[1], extents[2]], y)
    }
}

fn attribute(node: &NodeProto, name: &str) -> f64 {
    let found = node.attribute.iter().find(|a| a.name == name).expect("an attribute");
    assert_eq!(found.r#type, proto::ATTRIBUTE_FLOAT);
    f64::from(found.f)
}

/// Each channel normalised by its mean and variance.
fn normalised(
    node: &NodeProto,
    (shape, data): &Value,
    mut moments: impl FnMut(&[f64]) -> (f64, f64),
    [weight, bias]: [Vec<f64>; 2],
) -> Vec<f64> {
    let epsilon = attribute(node, "epsilon");
    let rows = data.chunks_exact(data.len() / shape[0]).enumerate();
    rows.flat_map(|(channel, row)| {
        let (mean, variance) = moments(row);
        let scale = weight[channel] / (variance + epsilon).sqrt();
        row.iter().map(|x| (x - mean) * scale + bias[channel]).collect::<Vec<_>>()
    })
    .collect()
}

fn flat([c, z, y, x]: [usize; 4], [d, h, w]: [usize; 3]) -> usize {
    ((c * d + z) * h + y) * w + x
}

fn for_each_voxel([channels, d, h, w]: [usize; 4], mut f: impl FnMut(usize, [usize; 3])) {
    for c in 0..channels {
        for z in 0..d {
            for y in 0..h {
                (0..w).for_each(|x| f(c, [z, y, x]));
            }
        }
    }
}

/// Windows of their own stride.
fn average_pool(node: &NodeProto, (shape, x): &Value) -> Value {
    let window = |name: &str| -> [usize; 3] {
        let attribute = node.attribute.iter().find(|a| a.name == name).expect("an attribute");
        std::array::from_fn(|axis| attribute.ints[axis] as usize)
    };
    let window =
        (window("kernel_shape") == window("strides")).then(|| window("strides")).expect("windows side by side");
    let extents: [usize; 3] = std::array::from_fn(|axis| shape[axis + 1] / window[axis]);
    let mut y = Vec::new();
    for_each_voxel([shape[0], extents[0], extents[1], extents[2]], |c, at| {
        let mut sum = 0.0;
        for_each_voxel([1, window[0], window[1], window[2]], |_, tap| {
            let [d, h, w] = std::array::from_fn(|axis| at[axis] * window[axis] + tap[axis]);
            sum += x[flat([c, d, h, w], [shape[1], shape[2], shape[3]])];
        });
        y.push(sum / window.iter().product::<usize>() as f64);
    });
    ([shape[0], extents[0], extents[1], extents[2]], y)
}

/// ONNX's Resize, by the positions that its attributes say.
fn resize(node: &NodeProto, (shape, x): &Value, scales: [usize; 3]) -> Value {
    let text = |name: &str| {
        let attribute = node.attribute.iter().find(|a| a.name == name).expect("an attribute");
        assert_eq!(attribute.r#type, proto::ATTRIBUTE_STRING);
        String::from_utf8(attribute.s.clone()).expect("a name")
    };
    let [mode, transformation] = ["mode", "coordinate_transformation_mode"].map(text);
    let position = |to: usize, scale: usize| match transformation.as_str() {
        "asymmetric" => to as f64 / scale as f64,
        "half_pixel" => (to as f64 + 0.5) / scale as f64 - 0.5,
        other => panic!("{other} is not expected"),
    };
    // Voxels beyond an end are those at the end.
    let taps = |axis: usize, to: usize| -> [(usize, f64); 2] {
        let (at, last) = (position(to, scales[axis]), shape[axis + 1] as i64 - 1);
        let inside = |i: i64| i.clamp(0, last) as usize;
        let low = at.floor();
        match mode.as_str() {
            "nearest" if text("nearest_mode") == "floor" => [(inside(low as i64), 1.0), (0, 0.0)],
            "linear" => [(inside(low as i64), 1.0 - (at - low)), (inside(low as i64 + 1), at - low)],
            other => panic!("{other} is not expected"),
        }
    };
    let extents: [usize; 3] = std::array::from_fn(|axis| shape[axis + 1] * scales[axis]);
    let mut y = Vec::new();
    for_each_voxel([shape[0], extents[0], extents[1], extents[2]], |c, at| {
        let axes: [[(usize, f64); 2]; 3] = std::array::from_fn(|axis| taps(axis, at[axis]));
        let mut sum = 0.0;
        for_each_voxel([1, 2, 2, 2], |_, [z, y, x_tap]| {
            let [(d, a), (h, b), (w, c_weight)] = [axes[0][z], axes[1][y], axes[2][x_tap]];
            sum += a * b * c_weight * x[flat([c, d, h, w], [shape[1], shape[2], shape[3]])];
        });
        y.push(sum);
    });
    ([shape[0], extents[0], extents[1], extents[2]], y)
}

/// Pooling and both kinds of up-sampling; auxiliary heads and dropout leave nothing in the file.
fn resolutions() {
    let model = model(Network::new(2, 3, Supervised { rate: 0.3 }));
    let graph = exported(&model).graph.expect("a graph");
    let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
    assert_eq!(["AveragePool", "Resize", "Dropout"].map(count), [2, 2, 0]);
    assert!(model.tensors.keys().any(|name| name.starts_with("aux.")));
    assert!(graph.initializer.iter().all(|tensor| !tensor.name.starts_with("aux.")));
    agrees(&model, [4, 8, 6], 1.0);
}

fn same_values() {
    let of =
        |channels, outputs| Network::new(channels, outputs, VNet { base: 4, encoder: vec![2, 1], decoder: vec![1] });
    // 3 and 5 channels do not divide 4, so they are projected.
    let regions = of(5, 1).with_activation(Activation::Sigmoid);
    for (network, [d, h, w]) in
        [(network(), [4, 8, 4]), (of(3, 2), [2, 6, 4]), (of(4, 2), [4, 2, 2]), (regions, [2, 4, 2])]
    {
        agrees(&model(network), [d, h, w], 1.0);
    }
}

/// Each normalisation with each activation function. Folded weights are rounded to f32, so outputs move by u for each of fewer than
/// 1000 products and five layers.
fn normalises() {
    for (norm, nonlinearity) in PAIRS {
        let mut model = model(Network::new(2, 3, Normed { norm, nonlinearity }));
        for (_, tensor) in model.tensors.iter_mut().filter(|(name, _)| name.ends_with("running_var")) {
            tensor.data.iter_mut().for_each(|v| *v += 1.0);
        }
        agrees(&model, [4, 6, 8], 1.0 / 16.0 * 5.0 * f64::from(f32::EPSILON) / f64::EPSILON);
    }
}

/// Compares the logits of the exported graph with the engine's, under so many times the bound of sums in f64.
fn agrees(model: &Model, [d, h, w]: [usize; 3], looser: f64) {
    {
        let file = exported(model).graph.expect("a graph");
        let channels = model.network.in_channels;
        let image: Vec<f64> = (0..channels * d * h * w).map(|i| f64::from(noise("image", i))).collect();
        let mut interpreter = Interpreter {
            constants: file.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
            values: HashMap::from([("image", ([channels, d, h, w], image.clone()))]),
        };
        file.node.iter().for_each(|node| interpreter.run(node));
        let (shape, found) = &interpreter.values["logits"];
        assert_eq!(*shape, [model.network.classes, d, h, w]);

        let inference = InferenceGraph::new(&model.network, 1, [d, h, w]).expect("defined");
        let graph = &inference.graph;
        let innermost = permute(&image, &[channels, d, h, w], &[1, 2, 3, 0]);
        let mut feeds: HashMap<_, _> = graph
            .parameters()
            .iter()
            .map(|p| {
                let shape = &graph.spec(p.value).shape;
                let data = p.layout.from_torch(&model.tensors[&p.name].data, shape);
                (p.value, HostTensor::new(TensorSpec::f32(shape.clone()), data.into_iter().map(f64::from).collect()))
            })
            .collect();
        feeds.insert(inference.image, HostTensor::new(graph.spec(inference.image).clone(), innermost));
        let values = interpret(graph, &feeds).expect("interpreted");
        let logits = &values[inference.logits.index()].data;
        let expected = permute(logits, &[d, h, w, model.network.classes], &[3, 0, 1, 2]);
        let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(largest > 0.1, "logits say nothing");
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Both sum the same products of at most 8 x 125 in f64, in other orders, through fewer than 16 layers.
            let bound = looser * 16.0 * 1000.0 * f64::EPSILON * largest;
            assert!((found - expected).abs() <= bound, "{index}: {found}, not {expected}");
        }
    }
}

fn ending() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.pb");
    let error = export_onnx(&model(network()), &path).expect_err("no ONNX name");
    assert!(matches!(error, InteropError::Name { expected: ".onnx", .. }), "{error}");
    assert!(!path.exists());
}
