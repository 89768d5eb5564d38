//! PyTorch's files (`.pt`, `.pth`): a ZIP archive with a pickle and a file for each storage.
//!
//! A pickle is a program. Only what builds plain data is done here: numbers, texts, lists, dictionaries, and tensors of floats as
//! views of their storages. Every other name that it calls stands for nothing, and nothing of it is run.
//! Opcodes: Python's `pickletools.py`; the archive: `torch/serialization.py`.

mod machine;
mod view;

use super::archive::Archive;
use crate::interop::InteropError;
use crate::nn::model::Tensor;
use machine::{Machine, Node};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use view::{Kind, View};

/// Bytes of a pickle, at most: that of a large checkpoint has a hundredth.
const LONGEST_PICKLE: u64 = 1 << 26;

/// Nesting of plain data, at most.
const DEEPEST: usize = 64;
/// Values beside the state dictionary that are kept: plans and the description of a data set are thousands.
const MOST_VALUES: usize = 1 << 20;
/// What a file holds: the tensors of its state dictionary, and the plain data beside it.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// The keys beside the state dictionary, where it is one entry of a dictionary.
    pub(super) about: Option<Value>,
}

/// Keys under which checkpoints keep the state dictionary: nnU-Net, Lightning, others.
const STATES: [&str; 4] = ["network_weights", "state_dict", "model_state_dict", "model"];

/// Reads a file of `torch.save`.
pub(super) fn read(path: &Path) -> Result<Contents, InteropError> {
    let wrong = |reason: String| InteropError::Pickle { path: path.to_owned(), reason };
    let io = |source| InteropError::Io { path: path.to_owned(), action: "read", source };
    let mut archive = Archive::open(path).map_err(io)?.map_err(wrong)?;
    let pickle = archive.names().find(|name| name.ends_with("/data.pkl")).map(str::to_owned);
    let pickle = pickle.ok_or_else(|| wrong("it has no data.pkl".to_owned()))?;
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    let bytes = archive.read(&pickle, LONGEST_PICKLE).map_err(wrong)?;
    let order = format!("{folder}byteorder");
    if archive.names().any(|name| name == order) && archive.read(&order, 16).map_err(wrong)? != b"little" {
        return Err(wrong("its numbers are not little-endian".to_owned()));
    }
    let mut machine = Machine::new(&bytes);
    let top = machine.run().map_err(wrong)?;
    let nodes = machine.nodes;
    let (state, about) = state_of(&nodes, top);
    let mut storages = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (name, view) in state {
        if view.kind == Kind::Other || name.ends_with("num_batches_tracked") {
            continue;
        }
        if !storages.contains_key(&view.key) {
            let name = format!("{folder}data/{}", view.key);
            storages.insert(view.key.clone(), archive.read(&name, u64::MAX).map_err(wrong)?);
        }
        let tensor =
            view.tensor(&storages[&view.key]).ok_or_else(|| wrong(format!("{name} is not within its storage")))?;
        tensors.insert(name, tensor);
    }
    Ok(Contents { tensors, about })
}

/// The tensors of the state dictionary, and what stands beside it.
fn state_of(nodes: &[Node], top: usize) -> (Vec<(String, View)>, Option<Value>) {
    let text = |node: usize| if let Node::Text(text) = &nodes[node] { Some(text.as_str()) } else { None };
    let Node::Dict(entries) = &nodes[top] else { return (Vec::new(), None) };
    let inner = STATES.iter().find_map(|state| entries.iter().find(|(key, _)| text(*key) == Some(state)));
    let (dict, about) = match inner {
        Some(&(_, state)) => {
            let others = entries.iter().filter(|(_, value)| *value != state);
            let mut left = MOST_VALUES;
            let mut plain = |value| plain(nodes, value, 0, &mut left);
            let others = others.filter_map(|&(key, value)| Some((text(key)?.to_owned(), plain(value))));
            (state, Some(Value::Object(others.collect::<Map<_, _>>())))
        }
        None => (top, None),
    };
    let Node::Dict(entries) = &nodes[dict] else { return (Vec::new(), about) };
    let tensor = |&(key, value): &(usize, usize)| match &nodes[value] {
        Node::Tensor(view) => Some((text(key)?.to_owned(), view.clone())),
        _ => None,
    };
    (entries.iter().filter_map(tensor).collect(), about)
}

/// Plain data as JSON; what is not is null, and so is what lies too deep or comes after `left` values: lists may hold one another
/// many times.
fn plain(nodes: &[Node], node: usize, depth: usize, left: &mut usize) -> Value {
    if depth > DEEPEST || *left == 0 {
        return Value::Null;
    }
    *left -= 1;
    match &nodes[node] {
        Node::Bool(value) => (*value).into(),
        Node::Integer(value) => (*value).into(),
        Node::Float(value) => (*value).into(),
        Node::Text(value) => value.as_str().into(),
        Node::List(items) if items.len() <= 1 << 16 => {
            items.iter().take(*left).map(|&item| plain(nodes, item, depth + 1, left)).collect()
        }
        Node::Dict(entries) => {
            let mut entry = |&(key, value): &(usize, usize)| {
                let key = match &nodes[key] {
                    Node::Text(text) => text.clone(),
                    Node::Integer(number) => number.to_string(),
                    _ => return None,
                };
                (*left > 0).then(|| (key, plain(nodes, value, depth + 1, left)))
            };
            Value::Object(entries.iter().filter_map(&mut entry).collect())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every end and every changed byte of a small pickle gives an error or a value, and no panic.
    #[test]
    fn damaged_pickles_are_told_of() {
        let pickle = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x07X\x01\x00\x00\x00b](K\x01G?\xe0\x00\x00\x00\x00\x00\x00\x8a\x01\xffeu.";
        let run = |bytes: &[u8]| {
            let mut machine = Machine::new(bytes);
            machine.run().map(|top| plain(&machine.nodes, top, 0, &mut 1000))
        };
        assert_eq!(run(pickle), Ok(serde_json::json!({"a": 7, "b": [1, 0.5, -1]})));
        // A list that holds itself twice: 2^64 values, were it unfolded.
        assert!(run(b"\x80\x02]q\x01(h\x01h\x01e.").is_ok());
        for end in 0..pickle.len() {
            assert!(run(&pickle[..end]).is_err(), "{end}");
        }
        for place in 0..pickle.len() {
            for byte in 0..=255 {
                let mut changed = pickle.to_vec();
                changed[place] = byte;
                let _ = run(&changed);
            }
        }
    }
}
