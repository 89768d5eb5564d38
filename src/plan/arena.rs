use crate::graph::{Graph, Role};
use crate::tensor::ELEMENT_BYTES;

/// Elements to which the start of each parameter is aligned: 256 bytes, the largest binding alignment that WebGPU
/// allows a device to ask for.
const ALIGNMENT: usize = 256 / ELEMENT_BYTES as usize;

/// Where one parameter lies in every arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterWindow {
    /// First element.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
}

/// The layout of every arena: parameters with weight decay first, then those without, then statistics, each aligned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArenaLayout {
    /// By index of the parameter in the graph.
    pub windows: Vec<ParameterWindow>,
    /// Elements of one arena, gaps included.
    pub elements: usize,
    /// Elements `0..decayed` are subject to weight decay.
    pub decayed: usize,
    /// Elements `0..trained` are moved by the optimiser; the rest are statistics.
    pub trained: usize,
}

impl ArenaLayout {
    /// The layout of a graph's parameters.
    pub fn new(graph: &Graph) -> Self {
        let parameters = graph.parameters();
        let mut windows = vec![ParameterWindow { start: 0, len: 0 }; parameters.len()];
        let mut end = 0;
        let ends = Role::ALL.map(|role| {
            for (window, parameter) in windows.iter_mut().zip(parameters).filter(|(_, p)| p.role == role) {
                let len = graph.spec(parameter.value).elements();
                *window = ParameterWindow { start: end, len };
                end = (end + len).next_multiple_of(ALIGNMENT);
            }
            end
        });
        let [decayed, trained, elements] = ends;
        Self { windows, elements, decayed, trained }
    }
}
