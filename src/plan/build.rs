use super::gradients::{Delivered, check_request, check_writes, copy};
use super::{
    ArenaLayout, BufferRole, BufferSpec, Lifetime, MemoryReport, Plan, PlanError, PlannedDispatch, Program, Step,
    Window, assign_slots, lower_bound, submission,
};
use crate::graph::{Graph, Lowering};
use crate::kernel::{Arena, Cost, Dispatch, GROUP_SCALAR_STRIDE, Kernel, Operand, STEP_SCALAR_BYTES, Target};
use crate::tensor::{ELEMENT_BYTES, TensorSpec, ValueId};
use std::collections::{HashMap, HashSet};

/// The largest value whose elements kernels can number with 32 bits and some to spare. What is larger than a binding may be
/// is bound in pieces, by the operations that can.
const MOST_VALUE_BYTES: u64 = 8 << 30;

/// How a gradient is added to its window of the gradient arena: `(gradient, window, elements, target)`.
pub type Accumulate = fn(Operand, Operand, usize, &Target) -> Dispatch;

/// Dispatches outside the graph that run after it, such as the optimiser's.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Name of the program.
    pub name: &'static str,
    /// The dispatches; they may refer to arenas, to the step scalars and to their own scratch buffers.
    pub dispatches: Vec<Dispatch>,
    /// Sizes of the scratch buffers in bytes.
    pub scratch: Vec<u64>,
    /// Useful work.
    pub cost: Cost,
}

/// What to plan.
#[derive(Debug)]
pub struct Request<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Values that the host reads after a run.
    pub outputs: &'a [ValueId],
    /// Keep every value of the graph: for tests that compare them all.
    pub keep_all: bool,
    /// Gradient of each parameter that is not frozen, in their order ([`Graph::trained`]); empty for inference. Several parameters
    /// may have one.
    pub gradients: &'a [ValueId],
    /// Add gradients to the arena instead of replacing its contents: for gradient accumulation.
    pub accumulate: Option<Accumulate>,
    /// Programs after the graph's own.
    pub stages: Vec<Stage>,
    /// Arenas to allocate besides those that dispatches refer to.
    pub arenas: &'a [Arena],
}

impl<'a> Request<'a> {
    /// A forward run that keeps `outputs`.
    pub fn inference(graph: &'a Graph, outputs: &'a [ValueId]) -> Self {
        Self { graph, outputs, keep_all: false, gradients: &[], accumulate: None, stages: Vec::new(), arenas: &[] }
    }
}

/// Plans a graph for a device.
///
/// # Errors
/// [`PlanError`] when a value, buffer or dispatch exceeds a limit of the device.
pub fn plan(request: &Request<'_>, target: &Target) -> Result<Plan, PlanError> {
    if !request.gradients.is_empty() {
        check_request(request)?;
    }
    let mut builder = Builder::new(request, target);
    let lowered = builder.lower_nodes()?;
    builder.place_inputs_and_parameters();
    builder.place_gradients(&lowered);
    builder.place_values(&lowered);
    let mut programs = vec![builder.graph_program(lowered)?];
    let mut stage_scratch = Vec::new();
    for stage in &request.stages {
        let (program, scratch) = builder.stage_program(stage)?;
        programs.push(program);
        stage_scratch.push(scratch);
    }
    builder.check_buffers()?;
    let memory = builder.memory(&programs);
    Ok(Plan {
        buffers: builder.buffers,
        kernels: builder.kernels,
        programs,
        places: builder.places,
        stage_scratch,
        arena: builder.arena,
        memory,
    })
}

/// A node that is needed, with its dispatches and the sizes of its scratch buffers.
struct Lowered {
    node: usize,
    dispatches: Vec<Dispatch>,
    scratch: Vec<u64>,
}

struct Builder<'a> {
    request: &'a Request<'a>,
    target: &'a Target,
    arena: ArenaLayout,
    buffers: Vec<BufferSpec>,
    kernels: Vec<Kernel>,
    places: HashMap<ValueId, Window>,
    scratch_places: HashMap<(usize, usize), Window>,
    delivered: Delivered,
    lower_bound: u64,
    unshared: u64,
}

impl<'a> Builder<'a> {
    fn new(request: &'a Request<'a>, target: &'a Target) -> Self {
        Self {
            request,
            target,
            arena: ArenaLayout::new(request.graph),
            buffers: Vec::new(),
            kernels: Vec::new(),
            places: HashMap::new(),
            scratch_places: HashMap::new(),
            delivered: Delivered::default(),
            lower_bound: 0,
            unshared: 0,
        }
    }

    /// Lowers the nodes that an output or a gradient depends on.
    fn lower_nodes(&self) -> Result<Vec<Lowered>, PlanError> {
        let graph = self.request.graph;
        let mut needed = vec![self.request.keep_all; graph.values().len()];
        for value in self.request.outputs.iter().chain(self.request.gradients) {
            needed[value.index()] = true;
        }
        let mut lowered = Vec::new();
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            if !node.outputs.iter().any(|o| needed[o.index()]) {
                continue;
            }
            node.inputs.iter().for_each(|i| needed[i.index()] = true);
            let larger_than = |limit: u64| {
                let values = node.inputs.iter().chain(&node.outputs).copied();
                values.filter(move |&value| graph.spec(value).bytes() > limit)
            };
            let refuse = |value: ValueId| {
                Err(self.binding_error(Operand::Value(value), node.op.name(), graph.spec(value).bytes()))
            };
            // Before lowering, whose arithmetic is that of values that a device can address.
            if let Some(value) = larger_than(self.target.limits.max_binding_bytes.max(MOST_VALUE_BYTES)).next() {
                return refuse(value);
            }
            let specs = |values: &[ValueId]| -> Vec<(ValueId, &TensorSpec)> {
                values.iter().map(|&v| (v, graph.spec(v))).collect()
            };
            let mut at = Lowering::new(self.target, specs(&node.inputs), specs(&node.outputs));
            node.op.lower(&mut at);
            let (dispatches, scratch) = at.finish();
            let bound = |value: &ValueId| {
                dispatches.iter().flat_map(|d| &d.bindings).any(|(operand, _)| *operand == Operand::Value(*value))
            };
            if let Some(value) = larger_than(self.target.limits.max_binding_bytes).find(bound) {
                return refuse(value);
            }
            lowered.push(Lowered { node: index, dispatches, scratch });
        }
        lowered.reverse();
        Ok(lowered)
    }

    fn buffer(&mut self, role: BufferRole, bytes: u64) -> usize {
        self.buffers.push(BufferSpec { role, bytes });
        self.buffers.len() - 1
    }

    /// The one buffer of a role, which is made where it is not there.
    fn only_buffer(&mut self, role: BufferRole, bytes: u64) -> usize {
        self.buffers.iter().position(|buffer| buffer.role == role).unwrap_or_else(|| self.buffer(role, bytes))
    }

    fn arena_window(&mut self, arena: Arena, start: usize, len: usize) -> Window {
        let buffer = self.only_buffer(BufferRole::Arena(arena), self.arena.elements as u64 * ELEMENT_BYTES);
        Window { buffer, offset: start as u64 * ELEMENT_BYTES, bytes: len as u64 * ELEMENT_BYTES }
    }

    fn place_inputs_and_parameters(&mut self) {
        let graph = self.request.graph;
        for &input in graph.inputs() {
            let bytes = graph.spec(input).bytes();
            let buffer = self.buffer(BufferRole::Input, bytes);
            self.places.insert(input, Window { buffer, offset: 0, bytes });
        }
        for (i, parameter) in graph.parameters().iter().enumerate() {
            let window = self.arena.windows[i];
            let place = self.arena_window(Arena::Parameters, window.start, window.len);
            self.places.insert(parameter.value, place);
        }
        for &arena in self.request.arenas {
            self.arena_window(arena, 0, 0);
        }
    }

    /// Gradients go straight to their windows, but for those that are [`Delivered`].
    fn place_gradients(&mut self, lowered: &[Lowered]) {
        let nodes = || lowered.iter().map(|l| &self.request.graph.nodes()[l.node]);
        let made: HashSet<ValueId> = nodes().flat_map(|n| &n.outputs).copied().collect();
        let read: HashSet<ValueId> = nodes().flat_map(|n| &n.inputs).copied().collect();
        self.delivered = Delivered::new(self.request, &made, &read);
        for ((parameter, _), gradient) in self.request.graph.trained().zip(self.request.gradients) {
            let window = self.arena.windows[parameter];
            let place = self.arena_window(Arena::Gradients, window.start, window.len);
            if !self.delivered.contains(*gradient) {
                self.places.insert(*gradient, place);
            }
        }
    }

    fn place_values(&mut self, lowered: &[Lowered]) {
        let graph = self.request.graph;
        let end = lowered.len() + 1;
        let mut lifetimes: Vec<Lifetime> = Vec::new();
        let mut owners = Vec::new();
        let mut last = vec![0; graph.values().len()];
        for (at, l) in lowered.iter().enumerate() {
            graph.nodes()[l.node].inputs.iter().for_each(|i| last[i.index()] = at);
        }
        for value in self.request.outputs {
            last[value.index()] = end;
        }
        for (at, l) in lowered.iter().enumerate() {
            // Delivered right after the node that makes them.
            let outputs = graph.nodes()[l.node].outputs.iter();
            outputs.filter(|o| self.delivered.contains(**o)).for_each(|o| last[o.index()] = last[o.index()].max(at));
        }
        for (at, l) in lowered.iter().enumerate() {
            for &output in graph.nodes()[l.node].outputs.iter().filter(|o| !self.places.contains_key(o)) {
                let last = if self.request.keep_all { end } else { last[output.index()].max(at) };
                lifetimes.push(Lifetime { first: at, last, bytes: graph.spec(output).bytes() });
                owners.push(Owner::Value(output));
            }
            for (i, &bytes) in l.scratch.iter().enumerate() {
                lifetimes.push(Lifetime { first: at, last: at, bytes });
                owners.push(Owner::Scratch(l.node, i));
            }
        }
        let assignment = assign_slots(&lifetimes);
        let first = self.buffers.len();
        for &bytes in &assignment.bytes {
            self.buffer(BufferRole::Slot, bytes);
        }
        for ((owner, lifetime), slot) in owners.into_iter().zip(&lifetimes).zip(assignment.slots) {
            let window = Window { buffer: first + slot, offset: 0, bytes: lifetime.bytes };
            match owner {
                Owner::Value(value) => self.places.insert(value, window),
                Owner::Scratch(node, i) => self.scratch_places.insert((node, i), window),
            };
        }
        self.lower_bound = lower_bound(&lifetimes);
        self.unshared = lifetimes.iter().map(|l| l.bytes).sum();
    }

    fn graph_program(&mut self, lowered: Vec<Lowered>) -> Result<Program, PlanError> {
        let graph = self.request.graph;
        let mut program = Program { name: "graph", steps: Vec::new(), dispatches: Vec::new() };
        for l in lowered {
            let node = &graph.nodes()[l.node];
            let specs = |values: &[ValueId]| -> Vec<&TensorSpec> { values.iter().map(|&v| graph.spec(v)).collect() };
            let cost = node.op.cost(&specs(&node.inputs), &specs(&node.outputs));
            program.steps.push(Step { name: node.name.clone(), op: node.op.name(), cost });
            for dispatch in with_stated_flops(l.dispatches, cost.flops) {
                let planned = self.resolve(dispatch, l.node, program.steps.len() - 1)?;
                program.dispatches.push(planned);
            }
            for &output in &node.outputs {
                self.deliver(output, &node.name, &mut program)?;
            }
        }
        let made_by_no_node = graph.inputs().iter().copied().chain(graph.parameters().iter().map(|p| p.value));
        for gradient in made_by_no_node {
            self.deliver(gradient, "gradients", &mut program)?;
        }
        if !self.request.gradients.is_empty() {
            let gradients = self.arena_window(Arena::Gradients, 0, 0).buffer;
            let parameters = graph.trained().map(|(at, p)| (p.name.as_str(), self.arena.windows[at]));
            check_writes(parameters, gradients, &program)?;
        }
        submission::number(&mut program.dispatches, self.target.tuning.submission_flops);
        Ok(program)
    }

    /// Copies or adds a value to the windows of the parameters that it is the gradient of, each in a step of its own.
    fn deliver(&mut self, gradient: ValueId, scope: &str, program: &mut Program) -> Result<(), PlanError> {
        for parameter in self.delivered.parameters_of(gradient) {
            let window = self.arena.windows[parameter];
            let into = Operand::Window { arena: Arena::Gradients, start: window.start, len: window.len };
            let (op, deliver, words) = match self.request.accumulate {
                Some(accumulate) => ("accumulate", accumulate, 3),
                None => ("copy", copy as Accumulate, 2),
            };
            let elements = self.request.graph.spec(gradient).elements();
            let cost = Cost { flops: 0, bytes: words * ELEMENT_BYTES * elements as u64 };
            program.steps.push(Step { name: scope.to_owned(), op, cost });
            let dispatch = deliver(Operand::Value(gradient), into, window.len, self.target);
            let planned = self.resolve(dispatch, usize::MAX, program.steps.len() - 1)?;
            program.dispatches.push(planned);
        }
        Ok(())
    }

    fn stage_program(&mut self, stage: &Stage) -> Result<(Program, Vec<Window>), PlanError> {
        // Scratch buffers of stages have numbers that follow those of the graph's nodes.
        let key = self.request.graph.nodes().len() + self.scratch_places.len();
        let mut scratch = Vec::new();
        for (i, &bytes) in stage.scratch.iter().enumerate() {
            let buffer = self.buffer(BufferRole::Scratch, bytes);
            let window = Window { buffer, offset: 0, bytes };
            self.scratch_places.insert((key, i), window);
            scratch.push(window);
        }
        let step = Step { name: stage.name.to_owned(), op: stage.name, cost: stage.cost };
        let dispatches = with_stated_flops(stage.dispatches.clone(), stage.cost.flops);
        let mut dispatches = dispatches.into_iter().map(|d| self.resolve(d, key, 0)).collect::<Result<Vec<_>, _>>()?;
        submission::number(&mut dispatches, self.target.tuning.submission_flops);
        Ok((Program { name: stage.name, steps: vec![step], dispatches }, scratch))
    }

    fn resolve(&mut self, dispatch: Dispatch, node: usize, step: usize) -> Result<PlannedDispatch, PlanError> {
        let shader = dispatch.kernel.shader;
        if dispatch.bindings.len() > self.target.limits.max_storage_buffers as usize {
            let (count, limit) = (dispatch.bindings.len(), self.target.limits.max_storage_buffers);
            return Err(PlanError::StorageBuffers { shader, count, limit });
        }
        let mut bindings = Vec::with_capacity(dispatch.bindings.len());
        for &(operand, access) in &dispatch.bindings {
            let window = self.window(operand, node);
            if window.bytes > self.target.limits.max_binding_bytes {
                return Err(self.binding_error(operand, shader, window.bytes));
            }
            bindings.push((window, access));
        }
        let kernel = self.kernels.iter().position(|k| *k == dispatch.kernel).unwrap_or_else(|| {
            self.kernels.push(dispatch.kernel.clone());
            self.kernels.len() - 1
        });
        let bytes = bindings.iter().map(|(window, _)| window.bytes).sum();
        let work = submission::work(dispatch.flops, bytes);
        let Dispatch { params, grid, .. } = dispatch;
        Ok(PlannedDispatch { kernel, params, bindings, grid, step, work, submission: 0 })
    }

    fn window(&mut self, operand: Operand, node: usize) -> Window {
        match operand {
            Operand::Value(value) => self.places[&value],
            Operand::Scratch(i) => self.scratch_places[&(node, i)],
            Operand::ValuePart { value, start, len } => part(self.places[&value], start, len),
            Operand::ScratchPart { scratch, start, len } => part(self.scratch_places[&(node, scratch)], start, len),
            Operand::Window { arena, start, len } => self.arena_window(arena, start, len),
            Operand::StepScalars => self.scalars_window(0),
            Operand::GroupScalars(group) => self.scalars_window(group),
        }
    }

    /// The scalars of a group of parameters, 0 for all others.
    fn scalars_window(&mut self, group: usize) -> Window {
        let dispatches = self.request.stages.iter().flat_map(|stage| &stage.dispatches);
        let groups = dispatches.flat_map(|dispatch| &dispatch.bindings).filter_map(|(operand, _)| match operand {
            Operand::GroupScalars(group) => Some(*group),
            _ => None,
        });
        let place = |group: usize| group as u64 * GROUP_SCALAR_STRIDE;
        let end = place(groups.max().unwrap_or(0)) + STEP_SCALAR_BYTES;
        let buffer = self.only_buffer(BufferRole::StepScalars, end);
        Window { buffer, offset: place(group), bytes: STEP_SCALAR_BYTES }
    }

    fn binding_error(&self, operand: Operand, shader: &str, bytes: u64) -> PlanError {
        let (name, spec) = match operand {
            Operand::Value(v) => {
                let value = &self.request.graph.values()[v.index()];
                (value.name.clone(), value.spec.to_string())
            }
            other => (shader.to_owned(), format!("{other:?}")),
        };
        PlanError::Binding { name, spec, bytes, limit: self.target.limits.max_binding_bytes }
    }

    fn check_buffers(&self) -> Result<(), PlanError> {
        match self.buffers.iter().find(|b| b.bytes > self.target.limits.max_buffer_bytes) {
            None => Ok(()),
            Some(b) => Err(PlanError::Buffer {
                name: format!("{:?}", b.role),
                bytes: b.bytes,
                limit: self.target.limits.max_buffer_bytes,
            }),
        }
    }

    fn memory(&self, programs: &[Program]) -> MemoryReport {
        let sum = |wanted: fn(BufferRole) -> bool| -> u64 {
            self.buffers.iter().filter(|b| wanted(b.role)).map(|b| b.bytes).sum()
        };
        let dispatches: usize = programs.iter().map(|p| p.dispatches.len()).sum();
        MemoryReport {
            inputs: sum(|r| r == BufferRole::Input),
            slots: sum(|r| r == BufferRole::Slot),
            slots_lower_bound: self.lower_bound,
            values_unshared: self.unshared,
            arenas: sum(|r| matches!(r, BufferRole::Arena(_))),
            other: sum(|r| matches!(r, BufferRole::Scratch | BufferRole::StepScalars)) + 256 * dispatches as u64,
        }
    }
}

/// The dispatches of a node. Where none states its flops, the node's useful ones are divided evenly.
fn with_stated_flops(mut dispatches: Vec<Dispatch>, useful: u64) -> Vec<Dispatch> {
    if dispatches.iter().all(|dispatch| dispatch.flops == 0) {
        let share = useful.div_ceil(dispatches.len().max(1) as u64);
        dispatches.iter_mut().for_each(|dispatch| dispatch.flops = share);
    }
    dispatches
}

/// Elements of a window.
fn part(window: Window, start: usize, len: usize) -> Window {
    let [start, bytes] = [start, len].map(|elements| elements as u64 * ELEMENT_BYTES);
    assert!(start + bytes <= window.bytes, "a part of an operand");
    Window { offset: window.offset + start, bytes, ..window }
}

enum Owner {
    Value(ValueId),
    Scratch(usize, usize),
}
