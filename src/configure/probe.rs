//! Time and memory of a step: expected from the kind of the device, and measured.

use super::fingerprint::{CaseFacts, Fingerprint};
use super::rules::Design;
use crate::data::split::Split;
use crate::data::{Batch, Dataset, Fit, Loader, Normalisation, Prepared, TargetSpacing, prepare_image};
use crate::gpu::{AdapterDescription, Gpu};
use crate::infer::{InferError, Predictor};
use crate::train::{Config, Forecast, TrainError, Trainer};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time of the steps that warm up, at least one, and of those that are timed, at least [`LEAST`].
const WARM_UP: Duration = Duration::from_secs(1);
const TIMED: Duration = Duration::from_secs(4);
const LEAST: u32 = 3;
/// Direct flops per second of a training step of a U-Net on two cores with a software driver, with 8 and 16 channels on the finest
/// level: docs/recipe.md.
const TWO_CORES: [f64; 2] = [29e9, 60e9];
/// Assumed speed of other devices, in units of two cores.
const INTEGRATED: f64 = 10.0;
const DISCRETE: f64 = 100.0;

/// The expected speed of a kind of device. A plan uses it so as not to depend on how busy the machine is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nominal {
    /// Minutes of a training by default.
    pub minutes: f64,
    /// Speed in units of two cores with a software driver.
    pub factor: f64,
}

impl Nominal {
    /// The expectation for an adapter.
    pub fn of(adapter: &AdapterDescription) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        match adapter.kind {
            "cpu" => Self { minutes: 15.0, factor: cores as f64 / 2.0 },
            "discrete" => Self { minutes: 480.0, factor: DISCRETE },
            _ => Self { minutes: 480.0, factor: INTEGRATED },
        }
    }

    /// Direct flops per second of a training step of a U-Net with so many channels on its finest level.
    pub fn flops_per_second(&self, features: usize) -> f64 {
        // Wider networks reach more of the peak: a power law through the two measured widths.
        let exponent = (TWO_CORES[1] / TWO_CORES[0]).log2();
        self.factor * TWO_CORES[0] * (features as f64 / 8.0).powf(exponent)
    }
}

/// Measured times of the parts of a training, and its memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Seconds of a step in the steady state, with loader and augmentation.
    pub step_seconds: f64,
    /// Seconds of one validation: the windows of its cases.
    pub validation_seconds: f64,
    /// Seconds of the test: reading, preparing and predicting its cases.
    pub test_seconds: f64,
    /// The forecast of device memory.
    pub forecast: Forecast,
}

impl Measured {
    /// Trains a few seconds on the first cases, and predicts windows of one case.
    ///
    /// # Errors
    /// [`TrainError`] when the device failed or a file cannot be read.
    pub fn of(gpu: &Arc<Gpu>, design: &Design, dataset: &Dataset, facts: &Fingerprint) -> Result<Self, TrainError> {
        let mut config: Config = design.config.clone();
        // A CT window would need all volumes first, and takes no time in a step.
        config.data.normalisation = Normalisation::ZScoreAll.into();
        config.data.align = dataset.align;
        let [x, y, z] = design.patch;
        let (network, trainer_settings) = (facts.network(&config), config.trainer_settings());
        let forecast = Forecast::new(&network, &trainer_settings, [z, y, x], gpu.target())?;
        let mut trainer = Trainer::new(gpu, &network, &trainer_settings, [z, y, x])?;
        trainer.initialise(config.seed, config.network.head_gain);
        let preparation = config.preparation(design.patch, facts.channels, facts.classes);
        let settings = config.loader_settings(design.patch, trainer.pass_batch(), 0);
        let loader = Loader::start(dataset.cases.clone(), preparation.clone(), settings)?;
        let step_seconds = steady_step(&mut trainer, loader, config.learning_rate(0))?;
        let split = split_of(dataset, &config)?;
        let predictor = Predictor::sharing(trainer.executor(), trainer.best_arena(), &network, design.patch)?;
        let begin = Instant::now();
        let (prepared, _) = prepare_image(&dataset.cases[0].image, &preparation, Fit::Whole)?;
        let read_seconds = begin.elapsed().as_secs_f64();
        let window_seconds = window(&predictor, &prepared)?;
        let windows = |names: &[String]| -> f64 {
            let of = facts.cases.iter().filter(|case| names.contains(&case.name));
            of.map(|case| predictor.windows(extents_at(case, &config, design.patch)) as f64).sum()
        };
        Ok(Self {
            step_seconds,
            validation_seconds: windows(&split.validation) * window_seconds,
            test_seconds: windows(&split.test) * window_seconds + split.test.len() as f64 * read_seconds,
            forecast,
        })
    }
}

/// Seconds of a step in the steady state: shaders are compiled, volumes are in the system's cache, and a step is submitted
/// while others are in flight.
fn steady_step(trainer: &mut Trainer, mut loader: Loader, learning_rate: f64) -> Result<f64, TrainError> {
    let mut step = |trainer: &mut Trainer| -> Result<(), TrainError> {
        let batches = (0..trainer.passes()).map(|_| loader.next()).collect::<Result<Vec<Batch>, _>>()?;
        trainer.step(&batches, learning_rate)?;
        Ok(())
    };
    for (time, least) in [(WARM_UP, 1), (TIMED, LEAST)] {
        let (begin, mut steps) = (Instant::now(), 0);
        while steps < least || begin.elapsed() < time {
            step(trainer)?;
            steps += 1;
        }
        trainer.finish()?;
        if time == TIMED {
            return Ok(begin.elapsed().as_secs_f64() / f64::from(steps));
        }
    }
    unreachable!("the second round returns")
}

/// Median seconds of a window, without the first.
fn window(predictor: &Predictor, prepared: &Prepared) -> Result<f64, TrainError> {
    let mut seconds = Vec::new();
    let begin = Instant::now();
    while seconds.len() < 2 {
        let mut last = Instant::now();
        let progress = |_, _| {
            seconds.push(std::mem::replace(&mut last, Instant::now()).elapsed().as_secs_f64());
            let enough = seconds.len() > LEAST as usize && begin.elapsed() > WARM_UP;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match predictor.predict_slabs(prepared, |_| (), progress) {
            Ok(()) | Err(InferError::Stopped) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(crate::profile::median(seconds.split_off(1)))
}

/// The split of the data set, or its first fold, else the split of the configuration.
pub(super) fn split_of(dataset: &Dataset, config: &Config) -> Result<Split, TrainError> {
    let names = dataset.names();
    Ok(match &dataset.split_file {
        Some(given) => Split::load(given, &names, None).or_else(|_| Split::load(given, &names, Some(0)))?,
        None => Split::from_seed(&names, config.seed, config.data.split)?,
    })
}

/// Extents of a case as it is predicted.
fn extents_at(case: &CaseFacts, config: &Config, patch: [usize; 3]) -> [usize; 3] {
    let spacing = match config.data.spacing {
        TargetSpacing::Millimetres(spacing) => spacing,
        TargetSpacing::Native(_) => case.spacing,
    };
    std::array::from_fn(|axis| {
        let extent = case.extents[axis] as f64 * case.spacing[axis] / spacing[axis];
        (extent.round() as usize).max(patch[axis])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_grow_with_the_channels_by_one_power_and_with_the_device_in_proportion() {
        let speed = |factor: f64, features: usize| Nominal { minutes: 1.0, factor }.flops_per_second(features);
        let doubled = TWO_CORES[1] / TWO_CORES[0];
        approx::assert_relative_eq!(speed(1.0, 8), TWO_CORES[0], max_relative = 1e-12);
        for features in [4, 8, 16] {
            approx::assert_relative_eq!(speed(1.0, 2 * features) / speed(1.0, features), doubled, max_relative = 1e-12);
            approx::assert_relative_eq!(speed(10.0, features), 10.0 * speed(1.0, features), max_relative = 1e-12);
        }
    }
}
