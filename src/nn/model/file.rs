use super::{ModelError, Tensor};
use crate::files::replace_file;
use crate::host_memory::available_memory;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

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
