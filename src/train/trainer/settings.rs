use super::MemoryMode;
use crate::augment::Augmentation;
use crate::nn::Objective;
use crate::nn::loss::{DiceCrossEntropy, Loss};
use crate::optim::{Adam, OptimiserSettings, ParameterGroup};
use crate::train::TrainError;
use std::sync::Arc;

/// What a [`super::Trainer`] does in a step. The learning rate is an argument of each step.
///
/// ```
/// use std::sync::Arc;
/// use vnet_engine::nn::loss::Dice;
/// use vnet_engine::optim::{OptimiserSettings, Sgd};
/// use vnet_engine::train::TrainerSettings;
///
/// let optimiser = OptimiserSettings { weight_decay: 5e-4, ..OptimiserSettings::new(Sgd::default()) };
/// let papers = TrainerSettings { loss: Arc::new(Dice::default()), optimiser, batch: 2, ..TrainerSettings::default() };
/// assert_eq!(papers.accumulation, 1);
/// ```
#[derive(Debug, Clone)]
pub struct TrainerSettings {
    /// Loss that is minimised.
    pub loss: Arc<dyn Loss>,
    /// A weight for each output of the network, 0 or more; none: all have the same.
    pub class_weights: Vec<f32>,
    /// Weights of the loss at the resolutions of a network with auxiliary heads, the highest first, of which it takes the
    /// weighted mean; none: by nnU-Net's rule ([`Objective`]).
    pub deep_supervision_weights: Vec<f32>,
    /// Update rule, weight decay and clipping.
    pub optimiser: OptimiserSettings,
    /// Samples of a step. If they do not fit the device at once, gradients are accumulated over smaller batches.
    pub batch: usize,
    /// Passes of a step, at least, over which gradients are accumulated: each computes an equal part of the batch. There are
    /// more where such a part does not fit the device.
    pub accumulation: usize,
    /// Patterns of the names of parameters that stay as they are ([`crate::optim::matches_pattern`]), e.g. `encoder.*`.
    pub freeze: Vec<String>,
    /// Parameters with a learning rate of their own.
    pub groups: Vec<ParameterGroup>,
    /// What happens to activations between forward and backward pass.
    pub memory: MemoryMode,
    /// Decay of the exponential moving average of the parameters, above 0 and below 1; `None`: there is no average.
    pub ema_decay: Option<f64>,
    /// Random changes of the samples, on the device; `None`: there are none.
    pub augmentation: Option<Augmentation>,
    /// Seed of the random numbers of augmentation and dropout.
    pub seed: u64,
    /// Whether samples have a margin of an eighth of the patch on all sides ([`TrainerSettings::block`]). Rotations and
    /// deformations move voxels from there into the patch; without `augmentation` it is useless.
    pub margin: bool,
}

impl Default for TrainerSettings {
    /// One sample, Dice and cross-entropy, Adam with nnU-Net's clipping at 12; no augmentation and no average.
    fn default() -> Self {
        Self {
            // Without normalisation a small network may collapse to background under Dice alone, whose gradient
            // vanishes there; cross-entropy's does not.
            loss: Arc::new(DiceCrossEntropy::default()),
            class_weights: Vec::new(),
            deep_supervision_weights: Vec::new(),
            optimiser: OptimiserSettings { clip_norm: Some(12.0), ..OptimiserSettings::new(Adam::default()) },
            batch: 1,
            accumulation: 1,
            freeze: Vec::new(),
            groups: Vec::new(),
            memory: MemoryMode::Normal,
            ema_decay: None,
            augmentation: None,
            seed: 0,
            margin: false,
        }
    }
}

impl TrainerSettings {
    /// The loss with its weights.
    pub(super) fn objective(&self) -> Objective<'_> {
        let (class_weights, resolution_weights) = (&self.class_weights, &self.deep_supervision_weights);
        Objective { loss: &*self.loss, class_weights, resolution_weights }
    }

    /// Extents of the samples for these extents of the patch, in the same order: larger by the margin, if there is one.
    pub fn block(&self, patch: [usize; 3]) -> [usize; 3] {
        patch.map(|extent| if self.margin { extent + 2 * (extent / 8) } else { extent })
    }

    /// Checks every number against its range. Hyperparameters of the optimiser are the caller's to check.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let expect = |good: bool, name, expected, found: String| match good {
            true => Ok(()),
            false => Err(TrainError::Setting { name, expected, found }),
        };
        let OptimiserSettings { weight_decay, clip_norm, .. } = self.optimiser;
        // Comparisons are such that NaN is in no range.
        expect(self.batch >= 1, "batch", "at least 1", self.batch.to_string())?;
        expect(self.accumulation >= 1, "accumulation", "at least 1", self.accumulation.to_string())?;
        let weights = |weights: &[f32]| {
            let in_range = weights.iter().all(|weight| (0.0..f32::INFINITY).contains(weight));
            in_range && (weights.is_empty() || weights.iter().any(|&weight| weight > 0.0))
        };
        let (classes, resolutions) = (&self.class_weights, &self.deep_supervision_weights);
        let expected = "finite numbers, 0 or more and one at least above, or none";
        expect(weights(classes), "class_weights", expected, format!("{classes:?}"))?;
        let expected = "finite numbers, 0 or more and the first above, or none";
        let good = weights(resolutions) && resolutions.first().is_none_or(|&first| first > 0.0);
        expect(good, "deep_supervision_weights", expected, format!("{resolutions:?}"))?;
        let between = |value: Option<f64>, end: f64| value.is_none_or(|value| value > 0.0 && value < end);
        let expected = "a number above 0 and below 1, or None";
        expect(between(self.ema_decay, 1.0), "ema_decay", expected, format!("{:?}", self.ema_decay))?;
        let expected = "a finite number above 0, or None";
        expect(between(clip_norm, f64::INFINITY), "optimiser.clip_norm", expected, format!("{clip_norm:?}"))?;
        for ParameterGroup { learning_rate_factor: factor, .. } in &self.groups {
            let (name, expected) = ("groups.learning_rate_factor", "a finite number above 0");
            expect(between(Some(*factor), f64::INFINITY), name, expected, factor.to_string())?;
        }
        let good = (0.0..f64::INFINITY).contains(&weight_decay);
        expect(good, "optimiser.weight_decay", "a finite number, 0 or more", weight_decay.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Target;
    use crate::nn::Network;
    use crate::nn::vnet::VNet;
    use crate::train::Trainer;

    #[test]
    fn numbers_out_of_range_are_named() {
        let default = TrainerSettings::default;
        let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
        Trainer::plan_for(&network, &default(), [4, 6, 8], &Target::webgpu()).expect("the defaults are in range");
        let with = |change: fn(&mut OptimiserSettings)| {
            let mut settings = default();
            change(&mut settings.optimiser);
            settings
        };
        for (settings, message) in [
            (TrainerSettings { batch: 0, ..default() }, "batch: expected at least 1, found 0"),
            (TrainerSettings { accumulation: 0, ..default() }, "accumulation: expected at least 1, found 0"),
            (
                TrainerSettings { class_weights: vec![1.0, f32::NAN], ..default() },
                "class_weights: expected finite numbers, 0 or more and one at least above, or none, found [1.0, NaN]",
            ),
            (
                TrainerSettings { deep_supervision_weights: vec![0.0], ..default() },
                "deep_supervision_weights: expected finite numbers, 0 or more and the first above, or none, found [0.0]",
            ),
            (
                TrainerSettings { ema_decay: Some(1.0), ..default() },
                "ema_decay: expected a number above 0 and below 1, or None, found Some(1.0)",
            ),
            (
                TrainerSettings { ema_decay: Some(f64::NAN), ..default() },
                "ema_decay: expected a number above 0 and below 1, or None, found Some(NaN)",
            ),
            (
                TrainerSettings {
                    groups: vec![ParameterGroup { parameters: "*".to_owned(), learning_rate_factor: 0.0 }],
                    ..default()
                },
                "groups.learning_rate_factor: expected a finite number above 0, found 0",
            ),
            (
                with(|optimiser| optimiser.clip_norm = Some(0.0)),
                "optimiser.clip_norm: expected a finite number above 0, or None, found Some(0.0)",
            ),
            (
                with(|optimiser| optimiser.weight_decay = -1.0),
                "optimiser.weight_decay: expected a finite number, 0 or more, found -1",
            ),
        ] {
            let planned = Trainer::plan_for(&network, &settings, [4, 6, 8], &Target::webgpu());
            let error = planned.map(|_| ()).expect_err(message);
            assert_eq!(error.to_string(), format!("trainer setting {message}"));
        }
    }

    #[test]
    fn a_margin_is_an_eighth_on_both_sides() {
        let with = TrainerSettings { margin: true, ..TrainerSettings::default() };
        assert_eq!(with.block([16, 20, 7]), [20, 24, 7]);
        assert_eq!(TrainerSettings::default().block([16, 20, 7]), [16, 20, 7]);
    }
}
