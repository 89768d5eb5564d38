//! How gradients come to their windows of the arena, and the check that each does.

use super::build::Request;
use super::{ArenaLayout, PlanError, Program, Window};
use crate::kernel::{Access, Dispatch, Operand, Target};
use crate::tensor::{ELEMENT_BYTES, ValueId};
use std::collections::{HashMap, HashSet};

/// Elements of one workgroup of `copy.wgsl`.
const COPIED_ELEMENTS: usize = 1024;

/// The gradients of a request that are values like others and are then delivered, copied or added, to the window of each parameter
/// that they belong to. The rest is written to its window by the node that makes it: gradients that a node of the plan makes, for
/// one parameter alone, and that no other node reads, as a dispatch may not read the arena that it writes.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    parameters: HashMap<ValueId, Vec<usize>>,
}

impl Delivered {
    /// Of a request whose nodes make the values `made` and read the values `read`.
    pub(super) fn new(request: &Request<'_>, made: &HashSet<ValueId>, read: &HashSet<ValueId>) -> Self {
        let mut parameters: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for (parameter, &gradient) in request.gradients.iter().enumerate() {
            parameters.entry(gradient).or_default().push(parameter);
        }
        parameters.retain(|gradient, of| {
            let straight = of.len() == 1 && made.contains(gradient) && !read.contains(gradient);
            request.accumulate.is_some() || !straight
        });
        Self { parameters }
    }

    /// Whether a gradient is delivered.
    pub(super) fn contains(&self, gradient: ValueId) -> bool {
        self.parameters.contains_key(&gradient)
    }

    /// The parameters that a value is delivered to, by index; none where it is no such gradient.
    pub(super) fn parameters_of(&self, value: ValueId) -> Vec<usize> {
        self.parameters.get(&value).cloned().unwrap_or_default()
    }
}

/// Copies `gradient` to `window`, both of `elements` f32.
pub(super) fn copy(gradient: Operand, window: Operand, elements: usize, target: &Target) -> Dispatch {
    let dispatch = Dispatch::new("copy").param(elements).read(gradient).write(window);
    dispatch.linear_grid(elements.div_ceil(COPIED_ELEMENTS), target)
}

/// Checks that there is a gradient for each parameter, of its size.
///
/// # Errors
/// [`PlanError::Gradients`] or [`PlanError::Gradient`].
pub(super) fn check_request(request: &Request<'_>) -> Result<(), PlanError> {
    let (graph, parameters) = (request.graph, request.graph.parameters());
    if request.gradients.len() != parameters.len() {
        return Err(PlanError::Gradients { gradients: request.gradients.len(), parameters: parameters.len() });
    }
    for (parameter, &gradient) in parameters.iter().zip(request.gradients) {
        let (found, expected) = (graph.spec(gradient), graph.spec(parameter.value));
        if found.bytes() != expected.bytes() {
            let name = parameter.name.clone();
            return Err(PlanError::Gradient { name, found: format!("{found}"), expected: format!("{expected}") });
        }
    }
    Ok(())
}

/// Checks that the program of a graph writes the gradient of every parameter, as a whole and in one step. `names` are those of the
/// parameters, `arena` is the buffer of the gradients.
///
/// # Errors
/// [`PlanError::Gradient`] of the first parameter whose gradient is not written so.
pub(super) fn check_writes<'a>(
    names: impl Iterator<Item = &'a str>,
    layout: &ArenaLayout,
    arena: usize,
    program: &Program,
) -> Result<(), PlanError> {
    let mut writers: HashMap<Window, Vec<usize>> = HashMap::new();
    for dispatch in &program.dispatches {
        for (window, _) in dispatch.bindings.iter().filter(|(w, access)| w.buffer == arena && *access == Access::Write)
        {
            let steps = writers.entry(*window).or_default();
            // One step may write a gradient in several dispatches, part by part.
            if steps.last() != Some(&dispatch.step) {
                steps.push(dispatch.step);
            }
        }
    }
    for (name, window) in names.zip(&layout.windows) {
        let [start, bytes] = [window.start, window.len].map(|elements| elements as u64 * ELEMENT_BYTES);
        let overlaps = |w: &Window| w.offset < start + bytes && start < w.offset + w.bytes;
        let found: Vec<_> = writers.iter().filter(|(w, _)| overlaps(w)).collect();
        let steps: usize = found.iter().map(|(_, steps)| steps.len()).sum();
        let whole = found.iter().all(|(w, _)| (w.offset, w.bytes) == (start, bytes));
        if steps != 1 || !whole {
            let found = if whole { format!("written by {steps} steps") } else { "written in part".to_owned() };
            let expected = "written as a whole by one".to_owned();
            return Err(PlanError::Gradient { name: name.to_owned(), found, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ParameterWindow, PlannedDispatch};

    const ARENA: usize = 3;

    /// Steps that write these elements of the arena, and read others of it and another buffer.
    fn checked(writes: &[(usize, std::ops::Range<u64>)]) -> Result<(), PlanError> {
        let windows = [(0, 100), (128, 7)].map(|(start, len)| ParameterWindow { start, len });
        let layout = ArenaLayout { windows: windows.to_vec(), elements: 192, decayed: 128, trained: 192 };
        let window = |buffer, elements: &std::ops::Range<u64>| Window {
            buffer,
            offset: elements.start * ELEMENT_BYTES,
            bytes: (elements.end - elements.start) * ELEMENT_BYTES,
        };
        let dispatch = |(step, elements): &(usize, std::ops::Range<u64>)| PlannedDispatch {
            kernel: 0,
            params: Vec::new(),
            bindings: vec![
                (window(ARENA, &(0..100)), Access::Read),
                (window(ARENA + 1, &(0..100)), Access::Write),
                (window(ARENA, elements), Access::Write),
            ],
            grid: [1; 3],
            step: *step,
            work: 0,
            submission: 0,
        };
        let dispatches = writes.iter().map(dispatch).collect();
        check_writes(["a", "b"].into_iter(), &layout, ARENA, &Program { name: "graph", steps: Vec::new(), dispatches })
    }

    fn refused(writes: &[(usize, std::ops::Range<u64>)]) -> String {
        checked(writes).expect_err("a gradient is not written once").to_string()
    }

    #[test]
    fn every_window_is_written_as_a_whole_by_one_step() {
        assert_eq!(checked(&[(0, 0..100), (0, 0..100), (1, 128..135)]), Ok(()));
        assert!(refused(&[(0, 0..100)]).starts_with("the gradient of b is written by 0 steps"));
        assert!(refused(&[(1, 128..135)]).starts_with("the gradient of a is written by 0 steps"));
        let twice = [(0, 0..100), (1, 128..135), (2, 128..135)];
        assert!(refused(&twice).starts_with("the gradient of b is written by 2 steps"));
        let again = [(0, 0..100), (1, 128..135), (2, 0..100)];
        assert!(refused(&again).starts_with("the gradient of a is written by 2 steps"));
        assert!(refused(&[(0, 0..99), (1, 128..135)]).starts_with("the gradient of a is written in part"));
        assert!(refused(&[(0, 0..130), (1, 128..135)]).starts_with("the gradient of a is written in part"));
    }
}
