//! Models on disk: safetensors with PyTorch's names, shapes and axis orders, and a description of the network.

use super::{Network, NetworkError, initialise};
use crate::files::replace_file;
use crate::graph::Graph;
use crate::host_memory::available_memory;
use crate::plan::ArenaLayout;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

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

/// A model file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("{}: not a safetensors file: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        source: SafeTensorError,
    },
    /// The description of the network is missing or not understood.
    #[error("{}: metadata key {METADATA_KEY}: {reason}", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The network cannot be built.
    #[error("{}: {source}", .path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NetworkError,
    },
    /// The header does not fit the file.
    #[error("{}: {promise}, but the file has {found} bytes", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// What the header says.
        promise: String,
        /// Length of the file.
        found: u64,
    },
    /// A parameter is NaN or infinite.
    #[error("{}: tensor {name}: element {index} is {value}, expected finite numbers", .path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Number of the element, last axis fastest.
        index: usize,
        /// The element.
        value: f32,
    },
    /// A parameter is missing, superfluous or of another shape or type.
    #[error("{}: tensor {name}: expected {expected}, found {found}", .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Type and shape that the network needs.
        expected: String,
        /// Type and shape in the file.
        found: String,
    },
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

    /// The model, if its network can be built and it holds exactly the parameters that this needs; `path` is for the
    /// error.
    ///
    /// # Errors
    /// [`ModelError`] that names what differs.
    pub fn checked(self, path: &Path) -> Result<Self, ModelError> {
        self.network.validate().map_err(|source| ModelError::Network { path: path.to_owned(), source })?;
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

/// Parameters (or gradients or moments, which have the same layout) by name, in PyTorch's order.
pub fn tensors_from_arena(graph: &Graph, layout: &ArenaLayout, arena: &[f32]) -> BTreeMap<String, Tensor> {
    let tensor = |(parameter, window): (&crate::graph::Parameter, &crate::plan::ParameterWindow)| {
        let shape = &graph.spec(parameter.value).shape;
        let data = parameter.layout.to_torch(&arena[window.start..window.start + window.len], shape);
        (parameter.name.clone(), Tensor { shape: parameter.layout.torch_shape(shape), data })
    };
    graph.parameters().iter().zip(&layout.windows).map(tensor).collect()
}

/// The inverse of [`tensors_from_arena`].
///
/// # Panics
/// When a parameter is missing or has another number of elements.
pub fn tensors_to_arena(graph: &Graph, layout: &ArenaLayout, tensors: &BTreeMap<String, Tensor>) -> Vec<f32> {
    let mut arena = vec![0.0; layout.elements];
    for (parameter, window) in graph.parameters().iter().zip(&layout.windows) {
        let tensor = &tensors[&parameter.name];
        let data = parameter.layout.from_torch(&tensor.data, &graph.spec(parameter.value).shape);
        arena[window.start..window.start + window.len].copy_from_slice(&data);
    }
    arena
}

/// The parameter arena of a new network.
pub fn initial_arena(graph: &Graph, layout: &ArenaLayout, seed: u64, head_gain: f32) -> Vec<f32> {
    let mut arena = vec![0.0; layout.elements];
    for (position, window) in layout.windows.iter().enumerate() {
        arena[window.start..window.start + window.len].copy_from_slice(&initialise(graph, position, seed, head_gain));
    }
    arena
}

/// Metadata and tensors of a safetensors file.
pub type Contents = (HashMap<String, String>, BTreeMap<String, Tensor>);

/// Bytes of the header of a safetensors file, at most: ten times those of the checkpoint of the largest network.
const LONGEST_HEADER: u64 = 1 << 23;

/// Checks the length of the header against that of a file.
fn check_header(path: &Path, start: [u8; 8], file: u64) -> Result<u64, ModelError> {
    let header = u64::from_le_bytes(start);
    if header <= LONGEST_HEADER && header + 8 <= file {
        return Ok(header);
    }
    let promise = format!("the header is {header} bytes long, expected at most {LONGEST_HEADER}");
    Err(ModelError::Length { path: path.to_owned(), promise, found: file })
}

/// All bytes of a safetensors file. Its length is compared with what its header promises before memory is asked for.
///
/// # Errors
/// [`ModelError`] that names the file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file")));
    }
    let length = metadata.len();
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = vec![0; 8];
    file.read_exact(&mut bytes).map_err(|_| ModelError::Length {
        path: path.to_owned(),
        promise: "expected a safetensors file".to_owned(),
        found: length,
    })?;
    let start: [u8; 8] = bytes.as_slice().try_into().expect("eight bytes");
    let header = check_header(path, start, length)?;
    Read::by_ref(&mut file).take(header).read_to_end(&mut bytes).map_err(io)?;
    let parsed: Metadata = serde_json::from_slice(&bytes[8..]).map_err(|source| ModelError::Format {
        path: path.to_owned(),
        source: SafeTensorError::InvalidHeaderDeserialization(source),
    })?;
    let needed = (parsed.data_len() as u64).saturating_add(8 + header);
    if needed != length {
        let promise = format!("the header promises a file of {needed} bytes");
        return Err(ModelError::Length { path: path.to_owned(), promise, found: length });
    }
    reserve(&mut bytes, needed).ok_or_else(|| {
        let reason = format!("its {needed} bytes do not fit the available memory");
        io(std::io::Error::new(std::io::ErrorKind::OutOfMemory, reason))
    })?;
    file.take(needed).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Room for a file of so many bytes, if there is: a sparse one may be longer than any memory.
fn reserve(bytes: &mut Vec<u8>, needed: u64) -> Option<()> {
    if available_memory().is_some_and(|available| needed > available) {
        return None;
    }
    bytes.try_reserve_exact(usize::try_from(needed).ok()?).ok()
}

/// Reads the f32 tensors and the metadata of a safetensors file.
///
/// # Errors
/// [`ModelError`] when it is not one, or holds tensors of another type.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Contents, ModelError> {
    let format = |source| ModelError::Format { path: path.to_owned(), source };
    if let Some(start) = bytes.first_chunk::<8>() {
        check_header(path, *start, bytes.len() as u64)?;
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(ModelError::Tensor {
                path: path.to_owned(),
                name: name.to_owned(),
                expected: "F32".to_owned(),
                found: format!("{:?}", view.dtype()),
            });
        }
        let data = bytemuck::pod_collect_to_vec(view.data());
        tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    Ok((metadata.metadata().clone().unwrap_or_default(), tensors))
}

/// A safetensors file with these tensors and metadata; `path` is for the error.
///
/// # Errors
/// [`ModelError::Format`] when there is too much for the format.
pub fn encode_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, ModelError> {
    let views = tensors.iter().map(|(name, t)| {
        let bytes = bytemuck::cast_slice(&t.data);
        let view = TensorView::new(Dtype::F32, t.shape.clone(), bytes).expect("shape and data agree");
        (name.as_str(), view)
    });
    safetensors::serialize(views, Some(metadata)).map_err(|source| ModelError::Format { path: path.to_owned(), source })
}

/// Writes a safetensors file, to a temporary file in the same folder first.
///
/// # Errors
/// [`ModelError`] that names the file.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: HashMap<String, String>,
) -> Result<(), ModelError> {
    let bytes = encode_tensors(path, tensors, metadata)?;
    replace_file(path, &bytes).map_err(|source| ModelError::Io { path: path.to_owned(), source })
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
    let mut graph = Graph::new();
    let [d, h, w] = network.divisor();
    let shape = [1, d, h, w, network.in_channels];
    let image = graph.input("image", crate::tensor::TensorSpec::f32(shape));
    network.append(&mut graph, image).expect("a valid network on a cube of its divisor");
    let shape = |p: &crate::graph::Parameter| p.layout.torch_shape(&graph.spec(p.value).shape);
    graph.parameters().iter().map(|p| (p.name.clone(), shape(p))).collect()
}
