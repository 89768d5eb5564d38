//! The speed of a device: expected by its kind, and measured.

use super::rules::Design;
use crate::data::{Batch, Case, Loader, Normalisation};
use crate::gpu::{AdapterDescription, Gpu};
use crate::train::{Config, Forecast, TrainError, Trainer};
use std::sync::Arc;
use std::time::Instant;

/// Steps that are timed, behind one that is not.
const TIMED: usize = 3;
/// Direct flops per second of a training step on two cores with a software driver, at base 4 and 16: docs/performance.md.
const SOFTWARE: [f64; 2] = [30e9, 165e9];
/// What other devices are taken to be faster than two cores.
const INTEGRATED: f64 = 10.0;
const DISCRETE: f64 = 100.0;

/// What is expected of a device by its kind, so that a plan does not depend on how busy a machine is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nominal {
    /// Minutes of a training, unless others are asked for.
    pub minutes: f64,
    /// Speed in units of two cores with a software driver.
    pub factor: f64,
}

impl Nominal {
    /// That of an adapter.
    pub fn of(adapter: &AdapterDescription) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        match adapter.kind {
            "software" => Self { minutes: 15.0, factor: cores as f64 / 2.0 },
            "discrete" => Self { minutes: 480.0, factor: DISCRETE },
            _ => Self { minutes: 480.0, factor: INTEGRATED },
        }
    }

    /// Direct flops per second of a training step of a network of this base.
    pub fn flops_per_second(&self, base: usize) -> f64 {
        // Wider matrix products run closer to the roof; between the two measured widths by a power law.
        let exponent = (SOFTWARE[1] / SOFTWARE[0]).ln() / 4f64.ln();
        self.factor * SOFTWARE[0] * (base as f64 / 4.0).powf(exponent)
    }
}

/// A training step as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Median seconds of a step, loader and augmentation included.
    pub step_seconds: f64,
    /// Device memory.
    pub forecast: Forecast,
}

impl Measured {
    /// Trains a few steps on the first cases.
    ///
    /// # Errors
    /// [`TrainError`] when the device failed or a file cannot be read.
    pub fn of(gpu: &Arc<Gpu>, design: &Design, cases: &[Case], classes: usize) -> Result<Self, TrainError> {
        let mut config: Config = design.config.clone();
        // A window would need all volumes first, and takes no part of the time.
        config.data.normalisation = Normalisation::ZScoreAll;
        let [x, y, z] = design.patch;
        let (network, trainer_settings) = (config.network(classes), config.trainer_settings());
        let forecast = Forecast::new(&network, &trainer_settings, [z, y, x], gpu.target())?;
        let mut trainer = Trainer::new(gpu, &network, &trainer_settings, [z, y, x])?;
        trainer.initialise(config.seed, config.network.head_gain);
        let settings = config.loader_settings(design.patch, trainer.pass_batch(), 0);
        let mut loader = Loader::start(cases.to_vec(), config.preparation(design.patch, classes), settings)?;
        let mut seconds = Vec::new();
        for _ in 0..=TIMED {
            let start = Instant::now();
            let batches = (0..trainer.passes()).map(|_| loader.next()).collect::<Result<Vec<Batch>, _>>()?;
            trainer.step(&batches, config.learning_rate(0))?;
            trainer.finish()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(Self { step_seconds: crate::profile::median(seconds.split_off(1)), forecast })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_grow_with_the_base_by_one_power_and_with_the_device_in_proportion() {
        let speed = |factor: f64, base: usize| Nominal { minutes: 1.0, factor }.flops_per_second(base);
        let doubled = speed(1.0, 8) / speed(1.0, 4);
        assert!(doubled > 1.0, "wider products are faster: {doubled}");
        approx::assert_relative_eq!(doubled * doubled, SOFTWARE[1] / SOFTWARE[0], max_relative = 1e-12);
        for base in [2, 5, 8, 16] {
            approx::assert_relative_eq!(speed(1.0, 2 * base) / speed(1.0, base), doubled, max_relative = 1e-12);
            approx::assert_relative_eq!(speed(10.0, base), 10.0 * speed(1.0, base), max_relative = 1e-12);
        }
    }
}
