//! Instance, group and batch normalisation (Ulyanov et al. 2016, Wu and He 2018, Ioffe and Szegedy 2015) as one operation.
//!
//! ```text
//! z = (input - mean) / sqrt(variance + epsilon) * weight[channel] + bias[channel],   output = rectifier(z)
//! ```
//!
//! Mean and biased variance are those of a set of elements ([`Moments`]). A rectifier that follows is part of the same pass over
//! memory. Moments are sums in a fixed order, in two stages; the gradient is two passes, one for its sums and one that writes it.

mod bounds;
mod cases;
mod fold;
mod grad;
mod reference;
mod running;
mod sets;

pub(super) use cases::cases;
pub use fold::FoldNorm;
pub use grad::NormaliseGrad;
pub use running::NormaliseRunning;

use super::rows::{Rows, element_width};
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::{Dispatch, Operand};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};
use sets::Sets;

/// Which elements of an activation `[N, .., C]` share a mean and a variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moments {
    /// Those of one sample and channel.
    Instance,
    /// Those of one sample and so many groups of neighbouring channels; the number divides the channels.
    Group(usize),
    /// Those of one channel, of all samples.
    Batch,
}

/// What follows a normalisation in the same pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rectifier {
    /// `z` where it is positive, else this slope times `z`, at least 0 and at most 1. 1: no rectifier, 0: ReLU.
    Leaky(f32),
    /// The same with a slope per channel, which is trained.
    Prelu,
}

impl Rectifier {
    /// Nothing follows.
    pub const NONE: Self = Self::Leaky(1.0);

    /// The slope where it is a constant, else any.
    fn constant(self) -> f32 {
        match self {
            Self::Leaky(slope) => slope,
            Self::Prelu => 1.0,
        }
    }
}

/// Normalisation of `input [N, .., C]` with `weight [C]` and `bias [C]`, and with [`Rectifier::Prelu`] slopes `[C]`.
///
/// Outputs: the result; the statistics, mean and `1 / sqrt(variance + epsilon)`, as `[N, 2, C]`, of a batch `[1, 2, C]`; and
/// of a batch its mean `[C]` and its unbiased variance `[C]`, which running statistics follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalise {
    /// What shares a mean and a variance.
    pub moments: Moments,
    /// Added to the variance.
    pub epsilon: f32,
    /// What follows.
    pub rectifier: Rectifier,
}

impl Normalise {
    /// What the inputs must be, for errors.
    fn expected(&self) -> String {
        let slopes = if self.rectifier == Rectifier::Prelu {
            ", weights, biases and slopes [C]"
        } else {
            ", weights and biases [C]"
        };
        match self.moments {
            Moments::Instance => format!("f32 [N, .., C] with more than one element per sample and channel{slopes}"),
            Moments::Group(groups) => {
                format!(
                    "f32 [N, .., C] with more than one element per sample and group, C a multiple of {groups}{slopes}"
                )
            }
            Moments::Batch => format!("f32 [N, .., C] with more than one element per channel{slopes}"),
        }
    }

    /// Number of parameters: weight, bias and perhaps slopes.
    fn parameters(&self) -> usize {
        if self.rectifier == Rectifier::Prelu { 3 } else { 2 }
    }

    /// Whether `vectors` are the parameters of normalising `input`.
    fn is_defined(&self, input: &TensorSpec, vectors: &[&TensorSpec]) -> bool {
        let vector = TensorSpec::f32([input.channels()]);
        vectors.len() == self.parameters()
            && vectors.iter().all(|spec| **spec == vector)
            && Sets::new(self.moments, input).is_some_and(|sets| sets.elements() > 1)
    }

    /// The statistics' spec.
    fn statistics(&self, input: &TensorSpec) -> TensorSpec {
        let samples = if self.moments == Moments::Batch { 1 } else { input.shape[0] };
        TensorSpec::f32([samples, 2, input.channels()])
    }

    /// A dispatch of a kernel that imports `norm`, without bindings.
    fn dispatch(&self, rows: &Rows, shader: &'static str, at: &Lowering<'_>) -> Dispatch {
        let (together, slopes) = (self.moments == Moments::Batch, self.rectifier == Rectifier::Prelu);
        let dispatch = rows.dispatch(shader, at.target()).param(usize::from(together)).param(usize::from(slopes));
        dispatch.scalar(self.rectifier.constant())
    }

    /// The slopes among the inputs from `first` on, where weight, bias and perhaps slopes are; else the weights, which are not read.
    fn slopes(&self, at: &Lowering<'_>, first: usize) -> Operand {
        at.input(if self.rectifier == Rectifier::Prelu { first + 2 } else { first })
    }

    /// Emits the statistics of input 0.
    fn emit_statistics(&self, at: &mut Lowering<'_>, sets: &Sets) {
        let width = element_width(sets.channels, at.target());
        let rows = Rows::summed_on(sets.samples, sets.rows, sets.channels / width, &at.target().tuning);
        let partial = at.scratch(sets.samples * rows.tiles() * 2 * sets.channels);
        let moments = rows.dispatch("norm_moments", at.target()).pairs(width > 1);
        at.emit(moments.read(at.input(0)).write(partial));
        let of_batch = match self.moments {
            Moments::Batch => [at.output(2), at.output(3)],
            _ => [at.scratch(1), at.scratch(1)],
        };
        let elements = sets.elements();
        let lanes = sets.lanes(rows.tiles());
        let [width, columns] = [sets::WORKGROUP / lanes, sets.count() * sets.groups];
        let dispatch = Dispatch::new("norm_statistics")
            .params(&[columns, sets.groups, sets.group_channels(), sets.channels, sets.set_samples() * rows.tiles()])
            .params(&[rows.tiles(), rows.tile(), sets.rows, width, lanes])
            .scalar(elements as f32)
            .scalar((elements - 1) as f32)
            .scalar(self.epsilon)
            .param(usize::from(self.moments == Moments::Batch))
            .linear_grid(columns.div_ceil(width), at.target());
        let dispatch = dispatch.read(partial).write(at.output(1));
        at.emit(of_batch.into_iter().fold(dispatch, Dispatch::write));
    }
}

impl Op for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input, vectors @ ..] if self.is_defined(input, vectors) => {
                let mut outputs = vec![(*input).clone(), self.statistics(input)];
                if self.moments == Moments::Batch {
                    outputs.extend([vectors[0].clone(), vectors[0].clone()]);
                }
                Ok(outputs)
            }
            _ => Err(ShapeError::new(self.name(), self.expected(), inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let count = at.input_count();
        let mut inputs = vec![at.input(0), at.output(1), at.grad_output()];
        inputs.extend((1..count).map(|i| at.input(i)));
        let gradients = at.append(NormaliseGrad(*self), &inputs)?;
        for (input, &gradient) in gradients[..count].iter().enumerate() {
            if at.needs(input) {
                at.contribute(input, gradient);
            }
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let sets = Sets::new(self.moments, at.input_spec(0)).expect("the inputs were checked");
        self.emit_statistics(at, &sets);
        let width = element_width(sets.channels, at.target());
        let rows = Rows::elementwise(sets.samples, sets.rows, sets.channels / width, at.target());
        let dispatch = self.dispatch(&rows, "normalise", at).pairs(width > 1).read(at.input(0)).read(at.output(1));
        at.emit(dispatch.read(at.input(1)).read(at.input(2)).read(self.slopes(at, 1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        reference::normalise(self, inputs)
    }

    /// A difference, a product and a sum for the moments, a few more for each run of rows, and four for the result.
    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        9 * inputs[0].elements() as u64
    }
}
