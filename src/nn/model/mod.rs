//! Models on disk: safetensors with PyTorch's names, shapes and axis orders, and a description of the network.

mod arena;
mod channels;
mod error;
mod file;

pub use arena::{initial_arena, tensors_from_arena, tensors_to_arena};
pub(crate) use channels::with_channels;
pub use error::ModelError;
pub use file::{Contents, decode, encode_tensors, read_file, write_tensors};

use super::Network;
use crate::graph::{Graph, Parameter, Role};
use crate::plan::ArenaLayout;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Key of the safetensors metadata that describes the network.
pub const METADATA_KEY: &str = "vnet_engine";

/// Version of the description.
const FORMAT: u32 = 1;

/// A tensor in PyTorch's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Elements, last axis fastest.
    pub data: Vec<f32>,
}

/// The description in the metadata of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of this description.
    pub format: u32,
    /// The network.
    pub network: Network,
    /// How volumes are prepared; `None`: at their own spacing, zero mean and unit variance over all voxels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<serde_json::Value>,
}

/// A trained network.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The network.
    pub network: Network,
    /// How volumes are prepared for it.
    pub preprocessing: Option<serde_json::Value>,
    /// Parameters by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Description {
    /// That of a model.
    pub fn of(model: &Model) -> Self {
        Self { format: FORMAT, network: model.network.clone(), preprocessing: model.preprocessing.clone() }
    }

    /// As it stands in the metadata.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a description is always JSON")
    }
}

impl Model {
    /// Collects a model from the parameter arena.
    pub fn from_arena(
        graph: &Graph,
        layout: &ArenaLayout,
        arena: &[f32],
        network: &Network,
        preprocessing: Option<serde_json::Value>,
    ) -> Self {
        let tensors = tensors_from_arena(graph, layout, arena);
        Self { network: network.clone(), preprocessing, tensors }
    }

    /// Reads a model file and checks that it holds exactly the parameters that its network needs.
    ///
    /// # Errors
    /// [`ModelError`] that names the file and what differs.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Self::from_bytes(path, &read_file(path)?)
    }

    /// Reads a model file that is in memory, under the name `path`.
    ///
    /// # Errors
    /// [`ModelError`] that names the file and what differs.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let (metadata, tensors) = decode(path, bytes)?;
        let description = metadata.get(METADATA_KEY).ok_or_else(|| ModelError::Description {
            path: path.to_owned(),
            reason: "missing; expected JSON with the network's shape".to_owned(),
        })?;
        let description: Description = serde_json::from_str(description)
            .map_err(|e| ModelError::Description { path: path.to_owned(), reason: e.to_string() })?;
        if description.format != FORMAT {
            let reason = format!("format {} is not known, expected {FORMAT}", description.format);
            return Err(ModelError::Description { path: path.to_owned(), reason });
        }
        Self { network: description.network, preprocessing: description.preprocessing, tensors }.checked(path)
    }

    /// The model, if its network can be built and it holds exactly the parameters that this needs, completed where an earlier
    /// version had fewer; `path` is for the error.
    ///
    /// # Errors
    /// [`ModelError`] that names what differs.
    pub fn checked(mut self, path: &Path) -> Result<Self, ModelError> {
        self.network.validate().map_err(|source| ModelError::Network { path: path.to_owned(), source })?;
        self.network.architecture().complete(self.network.in_channels, &mut self.tensors);
        check(path, &self.network, &self.tensors)?;
        check_values(path, &self.tensors)?;
        Ok(self)
    }

    /// Writes a model file: to a temporary file in the same folder first, then renamed, so that `path` is never half
    /// written.
    ///
    /// # Errors
    /// [`ModelError::Io`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), Description::of(self).to_json())]);
        write_tensors(path, &self.tensors, metadata)
    }

    /// See [`fingerprint`].
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.tensors)
    }

    /// The elements of the parameter arena of a graph of this model's network.
    ///
    /// # Panics
    /// When the graph is of another network: a model that was read was checked against its own.
    pub fn to_arena(&self, graph: &Graph, layout: &ArenaLayout) -> Vec<f32> {
        tensors_to_arena(graph, layout, &self.tensors)
    }
}

/// BLAKE3 over names, shapes and bits of tensors, hexadecimal: equal if and only if two sites have the same weights.
///
/// In the order of the names: length of the name and its bytes, number of extents and the extents, elements. Lengths and
/// extents are 64-bit, elements 32-bit floats in PyTorch's order, all little-endian.
pub fn fingerprint(tensors: &BTreeMap<String, Tensor>) -> String {
    let mut hasher = blake3::Hasher::new();
    let number = |n: usize| (n as u64).to_le_bytes();
    for (name, tensor) in tensors {
        hasher.update(&number(name.len())).update(name.as_bytes()).update(&number(tensor.shape.len()));
        tensor.shape.iter().for_each(|&extent| {
            hasher.update(&number(extent));
        });
        hasher.update(bytemuck::cast_slice(&tensor.data));
    }
    hasher.finalize().to_hex().to_string()
}

/// Checks that the tensors are exactly the network's parameters.
fn check(path: &Path, network: &Network, tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    let expected = parameter_shapes(network);
    let describe = |shape: &[usize]| format!("F32 {shape:?}");
    let wrong = |name: &str, expected: String, found: String| {
        Err(ModelError::Tensor { path: path.to_owned(), name: name.to_owned(), expected, found })
    };
    for (name, shape) in &expected {
        match tensors.get(name) {
            Some(t) if t.shape == *shape => {}
            Some(t) => return wrong(name, describe(shape), describe(&t.shape)),
            None => return wrong(name, describe(shape), "no such tensor".to_owned()),
        }
    }
    match tensors.iter().find(|(name, _)| !expected.contains_key(*name)) {
        Some((name, t)) => wrong(name, "no such tensor in this network".to_owned(), describe(&t.shape)),
        None => Ok(()),
    }
}

/// Refuses parameters that every prediction would be NaN with.
fn check_values(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    for (name, tensor) in tensors {
        if let Some(index) = tensor.data.iter().position(|value| !value.is_finite()) {
            let (path, name, value) = (path.to_owned(), name.clone(), tensor.data[index]);
            return Err(ModelError::NonFinite { path, name, index, value });
        }
    }
    Ok(())
}

/// PyTorch's shapes of all parameters of a network.
pub fn parameter_shapes(network: &Network) -> BTreeMap<String, Vec<usize>> {
    let (graph, _) = network.in_training();
    let shape = |p: &Parameter| p.layout.torch_shape(&graph.spec(p.value).shape);
    graph.parameters().iter().map(|p| (p.name.clone(), shape(p))).collect()
}

/// The names of the parameters of a network that training moves by gradients: all but statistics.
pub fn trained_names(network: &Network) -> Vec<String> {
    let (graph, _) = network.in_training();
    let trained = graph.parameters().iter().filter(|p| p.role != Role::Statistic);
    trained.map(|p| p.name.clone()).collect()
}
