//! PyTorch's files (`.pt`, `.pth`): a ZIP archive with a pickle and a file for each storage.
//!
//! A pickle is a program. Only what builds plain data is done here: numbers, texts, lists, dictionaries, and tensors of floats as
//! views of their storages. Every other name that it calls stands for nothing, and nothing of it is run.
//! Opcodes: Python's `pickletools.py`; the archive: `torch/serialization.py`.

use super::archive::Archive;
use crate::interop::InteropError;
use crate::nn::model::Tensor;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of a pickle, at most: that of a large checkpoint has a hundredth.
const LONGEST_PICKLE: u64 = 1 << 26;

/// Nesting of plain data, at most.
const DEEPEST: usize = 64;
/// Values beside the state dictionary that are kept: plans and the description of a data set are thousands.
const MOST_VALUES: usize = 1 << 20;
/// Values of a pickle.
const MOST_NODES: usize = 1 << 22;
/// Arguments of a call, and axes of a tensor.
const MOST_ARGUMENTS: usize = 8;

/// A value of the pickle: lists and dictionaries hold the numbers of others.
#[derive(Debug, Clone)]
enum Node {
    Mark,
    None,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    /// A name of a module.
    Name(String),
    Storage {
        kind: Kind,
        key: String,
    },
    Tensor(View),
    /// What is not read.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Double,
    Half,
    BFloat,
    Other,
}

#[derive(Debug, Clone)]
struct View {
    kind: Kind,
    key: String,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

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
    let mut machine = Machine { bytes: &bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), memo: BTreeMap::new() };
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

impl Kind {
    fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("FloatStorage") => Self::Float,
            Some("DoubleStorage") => Self::Double,
            Some("HalfStorage") => Self::Half,
            Some("BFloat16Storage") => Self::BFloat,
            _ => Self::Other,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Double => 8,
            Self::Float => 4,
            _ => 2,
        }
    }

    /// An element as float32.
    fn read(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::Float, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::Double, bytes) => bytes.try_into().map_or(f32::NAN, |bytes| f64::from_le_bytes(bytes) as f32),
            (Self::BFloat, &[a, b]) => f32::from_le_bytes([0, 0, a, b]),
            (Self::Half, &[a, b]) => half(u16::from_le_bytes([a, b])),
            _ => f32::NAN,
        }
    }
}

/// A float of 16 bits: sign, five bits of exponent, ten of mantissa.
fn half(bits: u16) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        exponent => (1.0 + mantissa / 1024.0) * 2f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

impl View {
    /// The elements, last axis fastest; `None` where the storage ends before.
    fn tensor(&self, storage: &[u8]) -> Option<Tensor> {
        let size = self.kind.bytes();
        let elements = self.shape.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent))?;
        // A view may repeat elements, but a network's parameters do not.
        if elements > storage.len() / size || self.strides.len() != self.shape.len() {
            return None;
        }
        let mut data = Vec::with_capacity(elements);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..elements {
            let steps =
                index.iter().zip(&self.strides).try_fold(self.offset, |sum, (&i, &stride): (&usize, &usize)| {
                    sum.checked_add(i.checked_mul(stride)?)
                })?;
            let start = steps.checked_mul(size)?;
            data.push(self.kind.read(storage.get(start..start.checked_add(size)?)?));
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Some(Tensor { shape: self.shape.clone(), data })
    }
}

/// The machine of a pickle.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    memo: BTreeMap<u64, usize>,
}

impl Machine<'_> {
    /// Runs until the end; the number of the result.
    fn run(&mut self) -> Result<usize, String> {
        loop {
            let at = self.at;
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.pop();
            }
            self.step(code).map_err(|reason| format!("data.pkl, byte {at}: {reason}"))?;
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| "data.pkl ends early".to_owned())?;
        let start = std::mem::replace(&mut self.at, end);
        Ok(&self.bytes[start..end])
    }

    /// A number of `count` bytes, without a sign.
    fn number(&mut self, count: usize) -> Result<u64, String> {
        Ok(self.take(count)?.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
    }

    fn text(&mut self, count: u64) -> Result<String, String> {
        let count = usize::try_from(count).map_err(|_| "a text is too long".to_owned())?;
        Ok(String::from_utf8_lossy(self.take(count)?).into_owned())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| "a line has no end".to_owned())?;
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 1;
        Ok(text)
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        if self.nodes.len() >= MOST_NODES {
            return Err("it holds more values than a network has".to_owned());
        }
        self.nodes.push(node);
        self.stack.push(self.nodes.len() - 1);
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, String> {
        self.stack.pop().ok_or_else(|| "the stack is empty".to_owned())
    }

    /// What was pushed since the last mark.
    fn since_mark(&mut self) -> Result<Vec<usize>, String> {
        let mark = self.stack.iter().rposition(|&node| matches!(self.nodes[node], Node::Mark));
        let mark = mark.ok_or_else(|| "there is no mark".to_owned())?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let start = self.stack.len().checked_sub(count).ok_or_else(|| "the stack is empty".to_owned())?;
        let items = self.stack.split_off(start);
        self.push(Node::List(items))
    }

    fn remember(&mut self, key: u64) -> Result<(), String> {
        let top = *self.stack.last().ok_or_else(|| "the stack is empty".to_owned())?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), String> {
        let node = *self.memo.get(&key).ok_or_else(|| format!("there is no memo {key}"))?;
        self.stack.push(node);
        Ok(())
    }

    /// Puts items into the dictionary or the list on top of the stack.
    fn extend(&mut self, items: &[usize], pairs: bool) -> Result<(), String> {
        let top = *self.stack.last().ok_or_else(|| "the stack is empty".to_owned())?;
        match &mut self.nodes[top] {
            Node::Dict(entries) if pairs => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Node::List(list) if !pairs => list.extend(items),
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            // PROTO, FRAME
            0x80 => self.take(1).map(|_| ()),
            0x95 => self.take(8).map(|_| ()),
            b'(' => self.push(Node::Mark),
            b'0' => self.pop().map(|_| ()),
            b'1' => self.since_mark().map(|_| ()),
            b'2' => {
                self.stack.last().copied().map(|top| self.stack.push(top)).ok_or_else(|| "the stack is empty".into())
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' | b'K' | b'M' | b'I' | b'L' | 0x8a | 0x8b => self.integer(code),
            b'G' => {
                let bytes = self.take(8)?.try_into().map_err(|_| "a float of eight bytes".to_owned())?;
                self.push(Node::Float(f64::from_be_bytes(bytes)))
            }
            b'X' | b'U' | b'T' | b'B' | b'C' | 0x8c | 0x8d | 0x8e => {
                let count = match code {
                    b'U' | b'C' | 0x8c => 1,
                    b'X' | b'T' | b'B' => 4,
                    _ => 8,
                };
                let count = self.number(count)?;
                let text = self.text(count)?;
                self.push(Node::Text(text))
            }
            b']' | b')' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            // EMPTY_SET, FROZENSET and ADDITEMS: not needed.
            0x8f => self.push(Node::Other),
            0x90 => self.since_mark().map(|_| ()),
            0x91 => {
                self.since_mark()?;
                self.push(Node::Other)
            }
            b't' | b'l' => {
                let items = self.since_mark()?;
                self.push(Node::List(items))
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Node::Dict(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
            }
            0x85..=0x87 => self.tuple(usize::from(code - 0x84)),
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item], false)
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(&items, false)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(&[key, value], true)
            }
            b'u' => {
                let items = self.since_mark()?;
                self.extend(&items, true)
            }
            b'q' | b'r' => {
                let key = self.number(if code == b'q' { 1 } else { 4 })?;
                self.remember(key)
            }
            0x94 => self.remember(self.memo.len() as u64),
            b'h' | b'j' => {
                let key = self.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(key)
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Name(format!("{module}.{name}")))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let node = match (&self.nodes[module], &self.nodes[name]) {
                    (Node::Text(module), Node::Text(name)) => Node::Name(format!("{module}.{name}")),
                    _ => Node::Other,
                };
                self.push(node)
            }
            b'Q' => self.persistent(),
            b'R' | 0x81 => self.reduce(),
            // BUILD: the state of an object, attributes of a dictionary.
            b'b' => self.pop().map(|_| ()),
            0x92 => self.tuple(3).and_then(|()| self.pop()).and_then(|_| self.push(Node::Other)),
            _ => Err(format!("opcode {code:#04x} is not known")),
        }
    }

    fn integer(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            b'J' => i64::from(self.number(4)? as u32 as i32),
            b'K' => self.number(1)? as i64,
            b'M' => self.number(2)? as i64,
            b'I' | b'L' => {
                let line = self.line()?;
                line.trim_end_matches('L').parse().map_err(|_| format!("{line} is no whole number"))?
            }
            _ => {
                let count = self.number(if code == 0x8a { 1 } else { 4 })? as usize;
                let bytes = self.take(count)?;
                if count > 8 {
                    return self.push(Node::Other);
                }
                let negative = bytes.last().is_some_and(|byte| byte >> 7 == 1);
                let mut all = [if negative { 0xff } else { 0 }; 8];
                all[..count].copy_from_slice(bytes);
                i64::from_le_bytes(all)
            }
        };
        self.push(Node::Integer(value))
    }

    /// A storage: `("storage", its class, its key, device, elements)`.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let node = match &self.nodes[id] {
            Node::List(items) => match items.iter().map(|&item| &self.nodes[item]).collect::<Vec<_>>()[..] {
                [Node::Text(word), Node::Name(class), Node::Text(key), ..] if word == "storage" => {
                    Node::Storage { kind: Kind::of(class), key: key.clone() }
                }
                _ => Node::Other,
            },
            _ => Node::Other,
        };
        self.push(node)
    }

    /// A call: tensors, parameters and ordered dictionaries are made, anything else stands for nothing.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let arguments = if let Node::List(items) = &self.nodes[arguments] {
            items[..items.len().min(MOST_ARGUMENTS)].to_vec()
        } else {
            Vec::new()
        };
        let name = if let Node::Name(name) = &self.nodes[callable] { name.as_str() } else { "" };
        match name {
            "torch._utils._rebuild_tensor_v2" => {
                let view = self.view(&arguments).ok_or_else(|| "a tensor without a storage".to_owned())?;
                self.push(Node::Tensor(view))
            }
            "torch._utils._rebuild_parameter" if !arguments.is_empty() => {
                self.stack.push(arguments[0]);
                Ok(())
            }
            "collections.OrderedDict" => self.push(Node::Dict(Vec::new())),
            _ => self.push(Node::Other),
        }
    }

    fn view(&self, arguments: &[usize]) -> Option<View> {
        let whole = |node: usize| match self.nodes[node] {
            Node::Integer(value) => usize::try_from(value).ok(),
            _ => None,
        };
        let list = |node: usize| match &self.nodes[node] {
            Node::List(items) if items.len() <= MOST_ARGUMENTS => {
                items.iter().map(|&item| whole(item)).collect::<Option<Vec<usize>>>()
            }
            _ => None,
        };
        let [storage, offset, shape, strides, ..] = *arguments else { return None };
        let Node::Storage { kind, key } = &self.nodes[storage] else { return None };
        let (offset, shape, strides) = (whole(offset)?, list(shape)?, list(strides)?);
        Some(View { kind: *kind, key: key.clone(), offset, shape, strides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0x7bff, 65504.0)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    /// Every end and every changed byte of a small pickle gives an error or a value, and no panic.
    #[test]
    fn damaged_pickles_are_told_of() {
        let pickle = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x07X\x01\x00\x00\x00b](K\x01G?\xe0\x00\x00\x00\x00\x00\x00\x8a\x01\xffeu.";
        let run = |bytes: &[u8]| {
            let mut machine = Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), memo: BTreeMap::new() };
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
