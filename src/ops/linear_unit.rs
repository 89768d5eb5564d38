use super::case::{Bound, Case, Draw};
use super::rows::{Columns, Rows, element_width, emit_sums, has_channels, matrix};
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// A function of each element of `[.., C]` that is the identity above 0: rectified, leaky and exponential linear units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LinearUnit {
    /// Below 0 this slope, at least 0 and at most 1: 0 is ReLU, the others LeakyReLU (Maas et al. 2013). At 0 the derivative is
    /// the slope, as in PyTorch.
    Leaky(f32),
    /// `exp(x) - 1` below 0 (Clevert et al. 2016).
    Exponential,
}

/// Gradient of a [`LinearUnit`] from its output `[.., C]` and the gradient of that: with respect to the input, and the sum of this
/// over all axes but the last, `[C]`, which is the gradient of a bias in front ([`share_channel_sums`](super::share_channel_sums)).
///
/// From the output, which the next layer keeps in any case: it has the sign of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearUnitGrad(pub LinearUnit);

impl LinearUnit {
    /// A dispatch over the rows of a matrix, without bindings.
    fn dispatch(self, rows: &Rows, shader: &'static str, at: &Lowering<'_>) -> Dispatch {
        let (exponential, slope) = match self {
            Self::Leaky(slope) => (0, slope),
            Self::Exponential => (1, 0.0),
        };
        rows.dispatch(shader, at.target()).param(exponential).scalar(slope)
    }

    fn of(self, x: f64) -> f64 {
        match self {
            _ if x > 0.0 => x,
            Self::Leaky(slope) => f64::from(slope) * x,
            Self::Exponential => x.exp_m1(),
        }
    }

    /// The derivative where the output is `y`.
    fn slope(self, y: f64) -> f64 {
        match self {
            _ if y > 0.0 => 1.0,
            Self::Leaky(slope) => f64::from(slope),
            Self::Exponential => y + 1.0,
        }
    }
}

impl Op for LinearUnit {
    fn name(&self) -> &'static str {
        "linear_unit"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if has_channels(input) => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "one f32 tensor [.., C]", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let gradients = at.append(LinearUnitGrad(*self), &[at.output(0), at.grad_output()])?;
            at.contribute(0, gradients[0]);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let width = element_width(channels, at.target());
        let rows = Rows::elementwise(1, rows, channels / width, at.target());
        let dispatch = self.dispatch(&rows, "linear_unit", at).pairs(width > 1);
        at.emit(dispatch.read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().map(|&x| self.of(x)).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

impl Op for LinearUnitGrad {
    fn name(&self) -> &'static str {
        "linear_unit_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [output, grad_output] if has_channels(output) && output == grad_output => {
                Ok(vec![(*output).clone(), TensorSpec::f32([output.channels()])])
            }
            _ => Err(ShapeError::new(self.name(), "two f32 tensors [.., C] of one shape", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let width = element_width(channels, at.target());
        let rows = Rows::summed_on(1, rows, channels / width, &at.target().tuning);
        let dispatch = self.0.dispatch(&rows, "linear_unit_grad", at).pairs(width > 1);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        emit_sums(at, &rows, Columns { per_channel: width, over_samples: true }, dispatch, &[at.output(1)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let mut grad_input = HostTensor::zeros(inputs[0].spec.clone());
        let mut sums = HostTensor::zeros(TensorSpec::f32([channels]));
        for (i, (&y, &g)) in inputs[0].data.iter().zip(&inputs[1].data).enumerate() {
            grad_input.data[i] = self.0.slope(y) * g;
            sums.data[i % channels] += grad_input.data[i];
        }
        vec![grad_input, sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        3 * inputs[0].elements() as u64
    }
}

/// Absolute: `exp(x)` of x <= -1/8 is at most 0.89 and off by 6 + 4 |x| u of itself, at most 6 u, and the difference adds one. Above,
/// five products and sums of decreasing terms, each at most 1/8 of x, and the sum, relative to |x| <= 1/8: less than 1 u in all.
const ELU_ULPS: f64 = 7.0;

/// A case of an exponential unit whose bound is absolute: outputs below 0 are at least -1.
fn of_elu(_: usize, _: &[HostTensor], expected: &HostTensor) -> Vec<f64> {
    let exact = |y: &f64| if *y > 0.0 { 0.0 } else { (ELU_ULPS + 1.0) * super::case::UNIT_ROUNDOFF };
    expected.data.iter().map(exact).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let forward = |name: &str, shape: &[usize], unit: LinearUnit| {
        // One rounding, the product.
        let bound =
            if unit == LinearUnit::Exponential { Bound::Computed(of_elu) } else { Bound::Relative { ulps: 1.0 } };
        Case::new(name, unit, vec![(TensorSpec::f32(shape), Draw::AwayFromZero(1e-3))], bound)
    };
    let backward = |name: &str, shape: &[usize], unit: LinearUnit| {
        let channels = shape[shape.len() - 1];
        let rows = shape.iter().product::<usize>() / channels;
        // With gradients of one sign no sum cancels; a sum and a product more.
        let roundings = Rows::all_summed(1, rows, channels).iter().map(Rows::summed_roundings).max();
        let ulps = (roundings.expect("a class of devices") + 2) as f64;
        let output = (TensorSpec::f32(shape), Draw::Uniform(-0.9, 1.0));
        let grad_output = (TensorSpec::f32(shape), Draw::Uniform(0.5, 1.5));
        let case = Case::new(name, LinearUnitGrad(unit), vec![output, grad_output], Bound::Relative { ulps });
        case.first_output(Bound::Relative { ulps: 2.001 }).backward_only()
    };
    let leaky = LinearUnit::Leaky(0.01);
    let (relu, elu) = (LinearUnit::Leaky(0.0), LinearUnit::Exponential);
    vec![
        forward("leaky_relu/2x3x5x7x3", &[2, 3, 5, 7, 3], leaky),
        forward("relu/1x9x11x13x8", &[1, 9, 11, 13, 8], relu),
        forward("relu/2x1x3x5x1", &[2, 1, 3, 5, 1], relu),
        forward("leaky_relu/1x2x1x3x300", &[1, 2, 1, 3, 300], LinearUnit::Leaky(0.5)),
        forward("elu/2x3x5x7x3", &[2, 3, 5, 7, 3], elu),
        forward("elu/1x9x11x13x8", &[1, 9, 11, 13, 8], elu),
        forward("leaky_relu/1x40x56x40x16", &[1, 40, 56, 40, 16], leaky).benchmark(),
        forward("elu/1x40x56x40x16", &[1, 40, 56, 40, 16], elu).benchmark(),
        backward("leaky_relu_grad/2x3x5x7x5", &[2, 3, 5, 7, 5], leaky),
        backward("leaky_relu_grad/2x17x19x23x8", &[2, 17, 19, 23, 8], LinearUnit::Leaky(0.25)).exact(),
        backward("relu_grad/1x2x1x3x300", &[1, 2, 1, 3, 300], relu).exact(),
        backward("elu_grad/1x9x11x13x6", &[1, 9, 11, 13, 6], elu),
        backward("elu_grad/2x3x5x7x1", &[2, 3, 5, 7, 1], elu),
        backward("leaky_relu_grad/1x40x56x40x16", &[1, 40, 56, 40, 16], leaky).benchmark(),
    ]
}
