//! The tensors of a file as float32: safetensors, or PyTorch's archive.

use super::pickle;
use crate::interop::InteropError;
use crate::nn::ModelError;
use crate::nn::model::{Tensor, read_file};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

/// Start of PyTorch's files since version 1.6: a ZIP archive with a pickle.
const ARCHIVE: &[u8] = b"PK\x03\x04";

/// Starts of older files, bare pickles (protocol 2 to 5).
const PICKLES: [&[u8]; 4] = [b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"];

/// Prefixes that wrappers put before every name: `DataParallel`, Lightning, MONAI bundles, `torch.compile`.
const PREFIXES: [&str; 5] = ["module.", "model.", "network.", "net.", "_orig_mod."];

/// Tensors by name.
#[derive(Debug)]
pub(super) struct StateDict {
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) metadata: HashMap<String, String>,
    /// What a checkpoint says beside them.
    pub(super) about: Option<serde_json::Value>,
}

impl StateDict {
    /// Drops prefixes that all names have.
    pub(super) fn strip_prefixes(&mut self) {
        let common = |tensors: &BTreeMap<String, Tensor>, prefix: &str| {
            !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(prefix))
        };
        while let Some(prefix) = PREFIXES.iter().find(|prefix| common(&self.tensors, prefix)) {
            let tensors = std::mem::take(&mut self.tensors).into_iter();
            self.tensors = tensors.map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
        }
    }
}

/// Reads a state dictionary. Counters of batch normalisation (`num_batches_tracked`) are dropped.
pub(super) fn state_dict(path: &Path) -> Result<StateDict, InteropError> {
    if starts_as_archive(path)? {
        let pickle::Contents { tensors, about } = pickle::read(path)?;
        return Ok(StateDict { tensors, metadata: HashMap::new(), about });
    }
    let bytes = read_file(path)?;
    let format = |source| ModelError::Format { path: path.to_owned(), source };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let file = SafeTensors::deserialize(&bytes).map_err(format)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        let data = match view.dtype() {
            Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
            Dtype::F64 => bytemuck::pod_collect_to_vec::<_, f64>(view.data()).into_iter().map(|v| v as f32).collect(),
            other => {
                let (name, expected, found) = (name.to_owned(), "F32 or F64".to_owned(), format!("{other:?}"));
                return Err(ModelError::Tensor { path: path.to_owned(), name, expected, found }.into());
            }
        };
        tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    Ok(StateDict { tensors, metadata: header.metadata().clone().unwrap_or_default(), about: None })
}

/// Whether a file is an archive of PyTorch; a bare pickle is refused.
fn starts_as_archive(path: &Path) -> Result<bool, InteropError> {
    let io = |source| InteropError::Io { path: path.to_owned(), action: "read", source };
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(4).read_to_end(&mut start).map_err(io)?;
    // A safetensors file starts with the length of its header in eight bytes, of which the last are zero.
    if PICKLES.iter().any(|pickle| start.starts_with(pickle)) && start.get(2..) != Some(&[0, 0]) {
        let reason =
            "a bare pickle of PyTorch before 1.6; torch.save(torch.load(..)) writes it as an archive".to_owned();
        return Err(InteropError::Pickle { path: path.to_owned(), reason });
    }
    Ok(start.starts_with(ARCHIVE))
}
