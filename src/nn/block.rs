//! What stands between convolutions: normalisation and activation, by name.

use super::Layers;
use crate::graph::{Initial, Node};
use crate::nn::Mode;
use crate::ops::{Conv3d, ConvTranspose3d, FoldNorm, LinearUnit, Moments, Normalise, NormaliseRunning, Rectifier};
use crate::tensor::layout::ParameterLayout;
use crate::tensor::{ShapeError, ValueId};

/// Added to variances before the root (PyTorch's default).
pub const NORM_EPSILON: f32 = 1e-5;

/// Part of the way that running statistics move to those of a step (PyTorch's `momentum`).
pub const BATCH_MOMENTUM: f32 = 0.1;

/// A normalisation of activations, with a trained weight and bias per channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Norm {
    /// None.
    None,
    /// Each channel of each sample (Ulyanov et al. 2016).
    Instance,
    /// So many groups of channels of each sample (Wu and He 2018); the number divides the channels.
    Group(usize),
    /// Each channel of the batch, by running statistics in predictions (Ioffe and Szegedy 2015).
    Batch,
}

/// An activation function between layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nonlinearity {
    /// PReLU with a trained slope per channel.
    Prelu,
    /// ReLU.
    Relu,
    /// LeakyReLU with this slope below 0, at least 0 and at most 1.
    LeakyRelu(f32),
    /// Exponential linear unit.
    Elu,
}

impl Nonlinearity {
    /// How it can be part of a normalisation, where it can.
    fn rectifier(self) -> Option<Rectifier> {
        match self {
            Self::Prelu => Some(Rectifier::Prelu),
            Self::Relu => Some(Rectifier::Leaky(0.0)),
            Self::LeakyRelu(slope) => Some(Rectifier::Leaky(slope)),
            Self::Elu => None,
        }
    }
}

impl Layers<'_> {
    /// A normalisation under the name `name` of the stage. Its parameters are PyTorch's: `weight`, `bias`, and of a batch
    /// `running_mean` and `running_var`.
    ///
    /// In a graph for prediction, batch normalisation becomes part of the convolution that makes `x`, where one does.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation, has no more than one element for a mean, or channels that the groups do not
    /// divide.
    pub fn norm(&mut self, name: &str, x: ValueId, norm: Norm) -> Result<ValueId, ShapeError> {
        self.normalised(name, x, norm, Rectifier::NONE, &[])
    }

    /// An activation function under the name `name` of the stage; a PReLU has the parameter `weight`.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn nonlinearity(&mut self, name: &str, x: ValueId, nonlinearity: Nonlinearity) -> Result<ValueId, ShapeError> {
        let unit = match nonlinearity {
            Nonlinearity::Prelu => return self.prelu(name, x),
            Nonlinearity::Relu => LinearUnit::Leaky(0.0),
            Nonlinearity::LeakyRelu(slope) => LinearUnit::Leaky(slope),
            Nonlinearity::Elu => LinearUnit::Exponential,
        };
        self.add(name, unit, &[x])
    }

    /// [`Layers::norm`] under the first name, then [`Layers::nonlinearity`] under the second, in one pass over memory where the
    /// function is linear on either side of 0.
    ///
    /// # Errors
    /// Those of the two.
    pub fn norm_act(
        &mut self,
        [norm_name, act_name]: [&str; 2],
        x: ValueId,
        norm: Norm,
        nonlinearity: Nonlinearity,
    ) -> Result<ValueId, ShapeError> {
        let folded = norm == Norm::Batch && self.mode() == Mode::Inference && self.convolution_of(x).is_some();
        match nonlinearity.rectifier().filter(|_| norm != Norm::None && !folded) {
            Some(Rectifier::Prelu) => self.normalised(norm_name, x, norm, Rectifier::Prelu, &[act_name]),
            Some(rectifier) => self.normalised(norm_name, x, norm, rectifier, &[]),
            None => {
                let y = self.norm(norm_name, x, norm)?;
                self.nonlinearity(act_name, y, nonlinearity)
            }
        }
    }

    /// A normalisation with what follows in the same pass; `slopes` is the name of the PReLU, where that follows.
    fn normalised(
        &mut self,
        name: &str,
        x: ValueId,
        norm: Norm,
        rectifier: Rectifier,
        slopes: &[&str],
    ) -> Result<ValueId, ShapeError> {
        let moments = match norm {
            Norm::None => return Ok(x),
            Norm::Instance => Moments::Instance,
            Norm::Group(groups) => Moments::Group(groups),
            Norm::Batch => Moments::Batch,
        };
        let name = format!("{}.{name}", self.prefix);
        let channels = self.graph.spec(x).channels();
        let mut vector = |part: &str, start: f32| {
            let vector = self.graph.parameter(&format!("{name}.{part}"), &[channels], ParameterLayout::Vector, false);
            self.graph.set_initial(vector, |_| Initial::Constant(start));
            vector
        };
        let affine = [vector("weight", 1.0), vector("bias", 0.0)];
        let running = (norm == Norm::Batch).then(|| {
            [("running_mean", 0.0), ("running_var", 1.0)]
                .map(|(part, start)| self.graph.statistic(&format!("{name}.{part}"), channels, start))
        });
        self.count(2 * channels);
        let slopes: Vec<ValueId> = slopes.iter().map(|act| self.slopes(act, channels)).collect();
        self.graph.set_scope(name);
        let epsilon = NORM_EPSILON;
        if let (Some(running), Mode::Inference) = (running, self.mode()) {
            if let Some(convolution) = self.convolution_of(x).filter(|_| rectifier == Rectifier::NONE) {
                return self.folded(&convolution, [affine, running].concat());
            }
            let inputs = [&[x], &affine[..], &running, &slopes].concat();
            return self.graph.add(NormaliseRunning { epsilon, rectifier }, &inputs);
        }
        let inputs = [&[x], &affine[..], &slopes].concat();
        let outputs = self.graph.append(Box::new(Normalise { moments, epsilon, rectifier }), &inputs)?;
        for (statistic, &batch) in running.into_iter().flatten().zip(&outputs[2..]) {
            self.graph.observe(statistic, batch);
        }
        Ok(outputs[0])
    }

    /// The convolution that makes a value, if one does.
    fn convolution_of(&self, x: ValueId) -> Option<Node> {
        let node = self.graph.nodes().iter().rfind(|node| node.outputs.contains(&x))?;
        // Without a bias there is nothing to fold the mean into.
        let has_bias = node.inputs.len() == 3;
        (has_bias && (node.is::<Conv3d>() || node.is::<ConvTranspose3d>())).then(|| node.clone())
    }

    /// A convolution once more, with the weight and bias that also normalise. What was there before is still there, for others
    /// that may read it; plans leave it out where nothing does.
    fn folded(&mut self, convolution: &Node, norm: Vec<ValueId>) -> Result<ValueId, ShapeError> {
        let inputs = [&convolution.inputs[1..], &norm].concat();
        let folded = self.graph.append(Box::new(FoldNorm { epsilon: NORM_EPSILON }), &inputs)?;
        self.graph.set_scope(convolution.name.as_str());
        self.graph.append_again(convolution, &[&convolution.inputs[..1], &folded].concat()).map(|outputs| outputs[0])
    }
}
