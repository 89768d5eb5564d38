//! Case objects: one per operation and shape, shared by parity tests, gradient checks and benchmarks.

use crate::graph::Op;
use crate::kernel::Transform;
use crate::random::{Purpose, Stream};
use crate::tensor::{HostTensor, TensorSpec};
use std::sync::Arc;

/// Unit roundoff of f32.
pub const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// How the elements of an input are drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Draw {
    /// Normal with this standard deviation, rounded to f32.
    Normal(f64),
    /// Normal, but no element closer to zero than this: for functions with a kink there.
    AwayFromZero(f64),
    /// Uniform between the two, rounded to f32.
    Uniform(f64, f64),
    /// Uniform integers in `0..n`, as u32.
    Labels(u32),
    /// Uniform among these, as u32.
    Among(&'static [u32]),
    /// These, whatever the seed: for what is not drawn element by element.
    Given(Vec<f64>),
}

/// Bounds of the elements of an output, by its number, the inputs and what the definition makes of them; infinite where
/// any value is right.
pub type ComputedBound = fn(usize, &[HostTensor], &HostTensor) -> Vec<f64>;

/// How far the device may be from the f64 definition.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// A sum of products with this many terms: `|error| <= gamma(terms) * op(|inputs|)` element by element, with
    /// `gamma(k) = k u / (1 - k u)`, `u = 2^-24` (Higham, *Accuracy and Stability*, section 3.1). The operation must be
    /// multilinear with positive coefficients, so that `op(|inputs|)` is the sum of the absolute products.
    Sum {
        /// Roundings on the way to one output element.
        terms: usize,
    },
    /// `|error| <= ulps * u * max(|reference|, largest |reference|)`.
    Relative {
        /// Multiple of the unit roundoff, derived where the case is defined.
        ulps: f64,
    },
    /// As the operation's formula carries errors on, derived where the case is defined.
    Computed(ComputedBound),
}

/// What Winograd's kernels do with a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WinogradCase {
    /// The largest error, on the inputs that the case draws.
    pub error: f64,
    /// The transforms along z, y and x.
    pub transforms: [Transform; 3],
}

/// An operation with inputs to try it on.
#[derive(Debug)]
pub struct Case {
    /// `operation/shape`, unique.
    pub name: String,
    /// The operation.
    pub op: Arc<dyn Op>,
    /// Spec and distribution of each input.
    pub inputs: Vec<(TensorSpec, Draw)>,
    /// Tolerance on the device.
    pub bound: Bound,
    /// Tolerance of output 0 where it differs from that of the others.
    pub first_output: Option<Bound>,
    /// Winograd's kernels, where the operation has them.
    pub winograd: Option<WinogradCase>,
    /// The operation is linear in each f32 input with integer coefficients: on small integers the device is exact.
    pub exact_on_integers: bool,
    /// The operation has a gradient.
    pub differentiable: bool,
    /// Inputs of f32 that it has no gradient for: soft targets and weights.
    pub constants: Vec<usize>,
    /// Input and output large enough for a timing to mean something; such a case is only timed.
    pub benchmark_only: bool,
}

impl Case {
    /// A differentiable case that is compared under `bound`.
    pub fn new(name: impl Into<String>, op: impl Op + 'static, inputs: Vec<(TensorSpec, Draw)>, bound: Bound) -> Self {
        Self {
            name: name.into(),
            op: Arc::new(op),
            inputs,
            bound,
            first_output: None,
            winograd: None,
            exact_on_integers: false,
            differentiable: true,
            constants: Vec::new(),
            benchmark_only: false,
        }
    }

    /// Marks the case as exact on small integers.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.exact_on_integers = true;
        self
    }

    /// Gives output 0 a bound of its own.
    #[must_use]
    pub fn first_output(mut self, bound: Bound) -> Self {
        self.first_output = Some(bound);
        self
    }

    /// Says what Winograd's kernels do on this distribution of inputs.
    #[must_use]
    pub fn winograd(mut self, winograd: WinogradCase) -> Self {
        self.winograd = Some(winograd);
        self
    }

    /// Names the inputs of f32 that have no gradient.
    #[must_use]
    pub fn constants(self, constants: &[usize]) -> Self {
        Self { constants: constants.to_vec(), ..self }
    }

    /// Marks the operation as one that only occurs in backward passes.
    #[must_use]
    pub fn backward_only(mut self) -> Self {
        self.differentiable = false;
        self
    }

    /// Marks the operation as one without a gradient.
    #[must_use]
    pub fn forward_only(self) -> Self {
        Self { differentiable: false, ..self }
    }

    /// Marks the case as one that is timed, not compared: its f64 reference would take too long.
    #[must_use]
    pub fn benchmark(mut self) -> Self {
        self.benchmark_only = true;
        self
    }

    /// The inputs, a pure function of `seed`.
    pub fn draw(&self, seed: u64) -> Vec<HostTensor> {
        self.inputs.iter().zip(seed * 1000..).map(|((spec, draw), stream)| draw_tensor(spec, draw, stream)).collect()
    }

    /// How far each element of output `output` may be from `expected`, the definition on the inputs `tensors`.
    pub fn bounds(&self, output: usize, tensors: &[HostTensor], expected: &HostTensor) -> Vec<f64> {
        match self.first_output.filter(|_| output == 0).unwrap_or(self.bound) {
            Bound::Sum { terms } => {
                let absolute = |t: &HostTensor| HostTensor {
                    spec: t.spec.clone(),
                    data: t.data.iter().map(|x| x.abs()).collect(),
                };
                let magnitudes: Vec<HostTensor> = tensors.iter().map(absolute).collect();
                let products = self.op.reference(&magnitudes.iter().collect::<Vec<_>>()).swap_remove(output);
                let k = terms as f64 * UNIT_ROUNDOFF;
                // Half an ulp for the rounding of the f64 sum to the f32 that is compared.
                products.data.into_iter().map(|product| (k / (1.0 - k) + UNIT_ROUNDOFF) * product).collect()
            }
            Bound::Relative { ulps } => {
                let largest = expected.max_abs();
                expected.data.iter().map(|e| ulps * UNIT_ROUNDOFF * e.abs().max(largest)).collect()
            }
            Bound::Computed(bounds) => bounds(output, tensors, expected),
        }
    }

    /// Inputs of integers in `-3..=3` (labels and given inputs stay what they are), on which sums of products are exact in f32.
    pub fn draw_integers(&self, seed: u64) -> Vec<HostTensor> {
        let draw = |((spec, draw), stream): (&(TensorSpec, Draw), u64)| match draw {
            Draw::Labels(_) | Draw::Among(_) | Draw::Given(_) => draw_tensor(spec, draw, stream),
            _ => {
                let mut random = Stream::new(stream, Purpose::TestInputs, 0);
                let data = (0..spec.elements()).map(|_| random.below(7) as f64 - 3.0).collect();
                HostTensor::new(spec.clone(), data)
            }
        };
        self.inputs.iter().zip(seed * 1000 + 500..).map(draw).collect()
    }
}

fn draw_tensor(spec: &TensorSpec, draw: &Draw, stream: u64) -> HostTensor {
    let mut random = Stream::new(stream, Purpose::TestInputs, 0);
    let rounded = |x: f64| f64::from(x as f32);
    let count = spec.elements();
    let data = match *draw {
        Draw::Normal(deviation) => random.normals().take(count).map(|x| rounded(x * deviation)).collect(),
        Draw::AwayFromZero(gap) => {
            random.normals().take(count).map(rounded).map(|x| rounded(x + gap.copysign(x))).collect()
        }
        Draw::Uniform(low, high) => (0..count).map(|_| rounded(random.between(low, high))).collect(),
        Draw::Labels(classes) => (0..count).map(|_| random.below(classes as usize) as f64).collect(),
        Draw::Among(values) => (0..count).map(|_| f64::from(values[random.below(values.len())])).collect(),
        Draw::Given(ref elements) => elements.clone(),
    };
    HostTensor::new(spec.clone(), data)
}
