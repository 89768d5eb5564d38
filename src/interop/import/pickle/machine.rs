//! The machine that a pickle is a program for: opcodes of Python's `pickletools.py`.

use super::view::{Kind, View};
use std::collections::BTreeMap;

/// Values of a pickle.
const MOST_NODES: usize = 1 << 22;
/// Arguments of a call, and axes of a tensor.
const MOST_ARGUMENTS: usize = 8;

/// A value of the pickle: lists and dictionaries hold the numbers of others.
#[derive(Debug, Clone)]
pub(super) enum Node {
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

/// The machine of a pickle.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node>,
    stack: Vec<usize>,
    memo: BTreeMap<u64, usize>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), memo: BTreeMap::new() }
    }

    /// Runs until the end; the number of the result.
    pub(super) fn run(&mut self) -> Result<usize, String> {
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
