use super::bounds::{Element, Step, U};
use super::{Optimiser, Optimisers, ReferenceStep};
use crate::kernel::Dispatch;
use crate::registry::{Entry, Hyperparameter, Value};
use std::sync::Arc;

/// Stochastic gradient descent (`torch.optim.SGD`, dampening 0); weight decay is added to the gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Factor of the running direction.
    pub momentum: f64,
    /// Look ahead along the running direction.
    pub nesterov: bool,
}

/// Factor of the running direction; the paper's by default.
pub(super) static MOMENTUM: Hyperparameter =
    Hyperparameter::number("momentum", 0.99, "0 up to, not including, 1", |value| (0.0..1.0).contains(&value));

/// Nesterov's momentum.
pub(super) static NESTEROV: Hyperparameter = Hyperparameter::switch("nesterov", false);

pub(super) const SGD: Entry<Optimisers> = Entry {
    name: "sgd",
    hyperparameters: &[&MOMENTUM, &NESTEROV],
    build: |values| Arc::new(Sgd { momentum: values.number("momentum"), nesterov: values.switch("nesterov") }),
    variants: &[("nesterov", &[("momentum", Value::Number(0.9)), ("nesterov", Value::Switch(true))])],
};

impl Default for Sgd {
    /// The paper's: momentum 0.99.
    fn default() -> Self {
        Self { momentum: 0.99, nesterov: false }
    }
}

impl Optimiser for Sgd {
    fn kernel(&self) -> Dispatch {
        Dispatch::new("sgd")
    }

    fn moments(&self) -> usize {
        1
    }

    fn flops(&self) -> u64 {
        7
    }

    fn constants(&self, dispatch: Dispatch) -> Dispatch {
        dispatch.scalar(self.momentum as f32).param(usize::from(self.nesterov))
    }

    fn reference(&self, step: &ReferenceStep, gradient: f64, parameter: &mut f64, [m, _]: [&mut f64; 2]) {
        let g = gradient + step.weight_decay * *parameter;
        *m = self.momentum * *m + g;
        *parameter -= step.learning_rate * if self.nesterov { g + self.momentum * *m } else { *m };
    }

    fn errors(&self, step: &Step, element: &Element, [of_parameter, of_moment, _]: [f64; 3]) -> [f64; 3] {
        let (g, of_gradient) = step.decayed(element, of_parameter);
        let ([parameter, moment, _], momentum) = (element.after, self.momentum);
        let carried = (momentum * element.moments[0]).abs();
        let of_moment = momentum * of_moment + 2.0 * U * carried + of_gradient + U * moment.abs();
        let (direction, of_direction) = if self.nesterov {
            let (ahead, direction) = (momentum * moment, g + momentum * moment);
            (direction, of_gradient + momentum * of_moment + 2.0 * U * ahead.abs() + U * direction.abs())
        } else {
            (moment, of_moment)
        };
        let of_move = step.rate * of_direction + 2.0 * U * (step.rate * direction).abs();
        [of_parameter + of_move + U * parameter.abs(), of_moment, 0.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::OptimiserSettings;
    use crate::optim::reference::{State, update};

    /// Two steps with gradients 0.5 and -0.3 from parameter 2.
    fn two_steps(optimiser: Sgd) -> f64 {
        let settings = OptimiserSettings { weight_decay: 0.01, ..OptimiserSettings::new(optimiser) };
        let mut state = State::new(vec![2.0]);
        update(&settings, 1, 0.1, 1, &[0.5], &mut state);
        update(&settings, 2, 0.1, 1, &[-0.3], &mut state);
        state.parameters[0]
    }

    #[test]
    fn two_steps_by_hand() {
        // g = 0.52, b = 0.52, p = 1.948; g = -0.28052, b = 0.18748, p = 1.929252.
        approx::assert_abs_diff_eq!(two_steps(Sgd { momentum: 0.9, nesterov: false }), 1.929252, epsilon = 1e-12);
        // g = 0.52, d = 0.988, p = 1.9012; g = -0.280988, b = 0.187012, d = -0.1126772, p = 1.91246772.
        approx::assert_abs_diff_eq!(two_steps(Sgd { momentum: 0.9, nesterov: true }), 1.91246772, epsilon = 1e-12);
    }
}
