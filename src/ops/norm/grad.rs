use super::sets::{Sets, WORKGROUP};
use super::{Normalise, Rectifier, reference};
use crate::graph::{Lowering, Op};
use crate::kernel::{Dispatch, Operand};
use crate::ops::rows::{Rows, element_width};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Gradient of a [`Normalise`] from `input [N, .., C]`, its statistics, `grad_output` like the input, `weight [C]`, `bias [C]` and
/// with [`Rectifier::Prelu`] slopes `[C]`: with respect to the input, the weight, the bias and the slopes.
///
/// Where every channel has a mean of its own, of a sample or of the batch, one more output `[C]` is zero: the sum of the gradient
/// of the input over all axes but the last, which is that of a bias in front ([`share_channel_sums`](crate::ops::share_channel_sums)).
/// A constant that is added before the mean is subtracted has no effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormaliseGrad(pub Normalise);

impl NormaliseGrad {
    /// The sum of the gradient of the input that a node makes, where it makes one: the last of its outputs.
    pub(in crate::ops) fn sum_of<T: Copy>(&self, outputs: &[T]) -> Option<T> {
        let gradients = 1 + self.0.parameters();
        outputs.get(gradients).copied()
    }

    /// Emits the sums of tiles, and what follows from these: the means of whole sets, into the operand that is returned, and the
    /// gradients of the parameters.
    fn emit_means(&self, at: &mut Lowering<'_>, sets: &Sets) -> Operand {
        let Self(normalise) = self;
        let channels = sets.channels;
        let width = element_width(channels, at.target());
        let rows = Rows::summed_on(sets.samples, sets.rows, channels / width, &at.target().tuning);
        let partial = at.scratch(sets.samples * rows.tiles() * 3 * channels);
        let sums = normalise.dispatch(&rows, "norm_grad_sums", at).pairs(width > 1);
        at.emit(self.read(at, sums).write(partial));
        let means = at.scratch(sets.count() * 2 * channels);
        let lanes = sets.lanes(rows.tiles());
        let [width, columns] = [WORKGROUP / lanes, sets.count() * sets.groups];
        let (of_sets, of_channels) = (columns.div_ceil(width), channels.div_ceil(width));
        let is_prelu = normalise.rectifier == Rectifier::Prelu;
        let dispatch = Dispatch::new("norm_grad_means")
            .params(&[columns, sets.groups, sets.group_channels(), channels, sets.set_samples() * rows.tiles()])
            .params(&[sets.samples * rows.tiles(), width, lanes, of_sets, usize::from(is_prelu)])
            .scalar(sets.elements() as f32)
            .linear_grid(of_sets + of_channels, at.target());
        let grad_slope = if is_prelu { at.output(3) } else { at.scratch(channels) };
        let grad_sum = if sets.alone() { at.output(1 + normalise.parameters()) } else { at.scratch(channels) };
        let dispatch = dispatch.read(partial).read(at.input(3)).write(means).write(at.output(1)).write(at.output(2));
        at.emit(dispatch.write(grad_slope).write(grad_sum));
        means
    }

    /// Binds the inputs: input, gradient, statistics, weights, biases, slopes.
    fn read(&self, at: &Lowering<'_>, dispatch: Dispatch) -> Dispatch {
        let dispatch = dispatch.read(at.input(0)).read(at.input(2)).read(at.input(1));
        dispatch.read(at.input(3)).read(at.input(4)).read(self.0.slopes(at, 3))
    }
}

impl Op for NormaliseGrad {
    fn name(&self) -> &'static str {
        "normalise_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let Self(normalise) = self;
        match inputs {
            [input, statistics, grad_output, vectors @ ..]
                if input == grad_output
                    && normalise.is_defined(input, vectors)
                    && **statistics == normalise.statistics(input) =>
            {
                let gradients = [input].into_iter().chain(vectors).map(|spec| (*spec).clone());
                let alone = Sets::new(normalise.moments, input).is_some_and(|sets| sets.alone());
                let sum = alone.then(|| vectors[0].clone());
                Ok(gradients.chain(sum).collect())
            }
            _ => {
                let expected = format!("{}, with statistics and a gradient between", normalise.expected());
                Err(ShapeError::new(self.name(), expected, inputs))
            }
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let sets = Sets::new(self.0.moments, at.input_spec(0)).expect("the inputs were checked");
        let means = self.emit_means(at, &sets);
        let width = element_width(sets.channels, at.target());
        let rows = Rows::elementwise(sets.samples, sets.rows, sets.channels / width, at.target());
        let dispatch = self.0.dispatch(&rows, "norm_grad", at).pairs(width > 1);
        at.emit(self.read(at, dispatch).read(means).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        reference::normalise_grad(self, inputs)
    }

    /// Nine for the sums and ten for the gradient.
    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        19 * inputs[0].elements() as u64
    }
}
