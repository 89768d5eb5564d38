//! Export to ONNX: <https://github.com/onnx/onnx/blob/main/docs/IR.md>.
//!
//! The forward graph is the engine's own, node by node, so that what is exported is what is run; only the order of the
//! axes is PyTorch's, `[N, C, D, H, W]`, and what depends on parameters alone is a constant. Strides and paddings follow from the shapes of the graph.

mod nodes;
mod norm;
pub mod proto;

use super::InteropError;
use crate::files::replace_file;
use crate::nn::model::Description;
use crate::nn::{InferenceGraph, Model, Network};
use nodes::Nodes;
use prost::Message;
use proto::{
    Dimension, DimensionProto, FLOAT, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use serde_json::Value;
use std::path::Path;

/// Version of the operators.
pub const OPSET: i64 = 17;

/// Version of the messages that goes with the operators.
const IR_VERSION: i64 = 8;

/// Protobuf messages are shorter than this.
const LONGEST: usize = (1 << 31) - (1 << 20);

/// Writes a model as ONNX: input `image` `[batch, in_channels, depth, height, width]`, output `logits` `[batch, classes,
/// depth, height, width]`, both float32. The first axis and the last three are chosen by the caller; extents must divide
/// by the network's divisor. Metadata says how images are prepared.
///
/// # Errors
/// [`InteropError`] when the file cannot be written or the weights are more than it can hold.
pub fn export_onnx(model: &Model, path: &Path) -> Result<(), InteropError> {
    if path.extension().is_none_or(|e| e != "onnx") {
        return Err(InteropError::Name { path: path.to_owned(), expected: ".onnx" });
    }
    let bytes = model.tensors.values().map(|t| t.data.len() * size_of::<f32>()).sum::<usize>();
    if bytes > LONGEST {
        return Err(InteropError::TooLarge { path: path.to_owned(), bytes });
    }
    let encoded = message(model)?.encode_to_vec();
    replace_file(path, &encoded).map_err(|source| InteropError::Io { path: path.to_owned(), action: "write", source })
}

/// What is said of the extents of the output.
const EXTENTS: &str = "same extents as the image";

/// The message of a model.
fn message(model: &Model) -> Result<ModelProto, InteropError> {
    let network = &model.network;
    // A single voxel in the deepest level would have no variance.
    let extents = network.divisor().map(|divisor| 2 * divisor);
    let inference = InferenceGraph::new(network, 1, extents).expect("a network on extents of its divisor");
    let (node, initializer) = Nodes::of(&inference, model)?.finish();
    let doc = format!("extents must be multiples of {}", multiples(network));
    let graph = GraphProto {
        node,
        name: network.kind().to_owned(),
        initializer,
        input: vec![value("image", network.in_channels, &doc)],
        output: vec![value("logits", network.classes, &format!("before {}; {EXTENTS}", network.activation.name()))],
    };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("{}, [N, C, D, H, W] with D = z, H = y, W = x; {doc}", network.summary()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(model),
    })
}

/// What extents must divide by: one number, or three for depth, height and width where they differ.
fn multiples(network: &Network) -> String {
    match network.divisor() {
        [d, h, w] if d == h && h == w => d.to_string(),
        [d, h, w] => format!("{d}, {h}, {w}"),
    }
}

/// An activation whose channels are known.
fn value(name: &str, channels: usize, doc: &str) -> ValueInfoProto {
    let named = |name: &str| Dimension::DimParam(name.to_owned());
    let channels = Dimension::DimValue(i64::try_from(channels).expect("at most 256"));
    let dim = [named("batch"), channels, named("depth"), named("height"), named("width")]
        .map(|value| DimensionProto { value: Some(value) })
        .to_vec();
    let tensor_type = Some(TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }), doc_string: doc.to_owned() }
}

/// The description of the model file as a whole, and each key of its preprocessing by itself, as JSON; texts as they are.
fn metadata(model: &Model) -> Vec<StringStringEntryProto> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    let mut entries = vec![
        entry(crate::nn::model::METADATA_KEY, Description::of(model).to_json()),
        entry("extents_divide_by", multiples(&model.network)),
    ];
    if let Some(Value::Object(keys)) = &model.preprocessing {
        entries.extend(keys.iter().map(|(key, value)| entry(key, text(value))));
    }
    entries
}
