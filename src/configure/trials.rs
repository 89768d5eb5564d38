//! Trials: short trainings of several configurations for the same time, of which the best is kept.
//!
//! What is compared is the soft Dice of cases that were not trained on. Training losses of other patches, networks or losses are
//! numbers of other things; their fall per second is told, but does not decide. Each trial runs its own schedule to the end, so that no
//! large last step adds noise. A configuration replaces that of the rules only if its mean gain exceeds twice the standard error over
//! the cases, and [`LEAST_GAIN`].

use super::fingerprint::Fingerprint;
use super::probe::split_of;
use super::{Budget, CANDIDATES, Design, Measured, candidates};
use crate::data::{Batch, Case, Classes, Dataset, Fit, IGNORED, Loader, Preparation, Prepared, prepare_pair};
use crate::gpu::Gpu;
use crate::infer::Predictor;
use crate::train::{Config, TrainError, Trainer};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Configurations that are tried by default, that of the rules included.
const TRIED: usize = 3;
/// Time of a trial, at most, and as a part of the minutes of the training.
const LONGEST: Duration = Duration::from_secs(60);
const PART: f64 = 1.0 / 15.0;
/// Time of a trial below which it tells too little: a network begins by predicting background.
const SHORTEST: Duration = Duration::from_secs(30);
/// Steps of a trial, at least, and how far its time may be exceeded when the device is busier than before.
const LEAST_STEPS: u64 = 10;
const OVERTIME: f64 = 3.0;
/// Cases that are predicted after a trial, at least and at most, within a part of its time. As many train, at least.
const HELD: [usize; 2] = [3, 8];
const PREDICTING: f64 = 0.25;
/// Gain in soft Dice that a configuration must have over that of the rules.
pub const LEAST_GAIN: f64 = 0.01;

/// How one configuration did.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Name of the candidate; `rules` for the configuration of the rules.
    pub name: &'static str,
    /// The configuration.
    pub design: Design,
    /// Time and memory of its steps.
    pub measured: Measured,
    /// Steps.
    pub steps: u64,
    /// Their seconds.
    pub seconds: f64,
    /// Mean training loss of the first and the last tenth of the steps.
    pub losses: [f64; 2],
    /// Soft Dice of each case that was held out, in the same order for all trials.
    pub dice: Vec<f64>,
}

/// Configurations to try, and the time for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trials {
    /// Configurations, that of the rules included.
    pub count: usize,
    /// Time of each.
    pub time: Duration,
}

impl Trials {
    /// So many configurations within a budget; by default `TRIED`, or none where the time of each would tell nothing.
    pub fn within(budget: &Budget, count: Option<usize>) -> Self {
        let time = LONGEST.min(Duration::from_secs_f64(PART * 60.0 * budget.minutes));
        let default = if time < SHORTEST { 1 } else { TRIED };
        Self { count: count.unwrap_or(default).min(CANDIDATES.len() + 1), time }
    }
}

impl Trial {
    /// Mean soft Dice.
    pub fn mean(&self) -> f64 {
        self.dice.iter().sum::<f64>() / self.dice.len().max(1) as f64
    }

    /// Fall of the training loss per second.
    pub fn loss_per_second(&self) -> f64 {
        (self.losses[0] - self.losses[1]) / self.seconds.max(1e-9)
    }

    /// Mean gain over another trial on the same cases, and its standard error.
    pub fn gain(&self, over: &Self) -> [f64; 2] {
        let differences: Vec<f64> = self.dice.iter().zip(&over.dice).map(|(a, b)| a - b).collect();
        let count = differences.len().max(1) as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        [mean, (squares / (count - 1.0).max(1.0) / count).sqrt()]
    }

    /// Whether the gain over the trial of the rules is more than noise: of the cases; seeds are not repeated.
    fn is_better(&self, rules: &Self) -> bool {
        let [mean, error] = self.gain(rules);
        mean >= LEAST_GAIN && mean > 2.0 * error
    }

    /// The trial in words.
    pub fn in_words(&self, rules: &Self) -> String {
        let [x, y, z] = self.design.patch;
        let [mean, error] = self.gain(rules);
        let against = if self.name == rules.name {
            String::new()
        } else {
            format!(", {mean:+.3} with a standard error of {error:.3} over the cases")
        };
        format!(
            "{}: {}, batch {} of {x} x {y} x {z}, {} steps in {:.0} s, loss {:.3} to {:.3} ({:.4} per second), soft Dice {:.3}{against}.",
            self.name,
            self.changes(rules),
            self.design.config.training.batch,
            self.steps,
            self.seconds,
            self.losses[0],
            self.losses[1],
            self.loss_per_second(),
            self.mean(),
        )
    }

    /// What differs from the rules' configuration besides the patch.
    fn changes(&self, rules: &Self) -> String {
        let Some(candidate) = CANDIDATES.iter().find(|candidate| candidate.name == self.name) else {
            return "the configuration of the rules".to_owned();
        };
        let value = |key: &str| {
            let (table, name) = key.split_once('.')?;
            toml::Table::try_from(&self.design.config).ok()?.get(table)?.get(name).map(ToString::to_string)
        };
        let of = |key: &'static str| format!("{key} = {}", value(key).unwrap_or_default());
        let mut words: Vec<String> = candidate.changes.iter().map(|change| of(change.0)).collect();
        if self.design.patch != rules.design.patch {
            words.push("a smaller patch".to_owned());
        }
        words.join(", ")
    }
}

/// The trial to go on with: of those that are better than the rules' by more than noise the one with the largest gain, else the rules'.
pub fn best(trials: &[Trial]) -> &Trial {
    let (rules, others) = trials.split_first().expect("the rules' configuration is tried");
    let better = others.iter().filter(|trial| trial.is_better(rules));
    better.max_by(|a, b| a.gain(rules)[0].total_cmp(&b.gain(rules)[0])).unwrap_or(rules)
}

/// What trials need.
pub(super) struct Bench<'a> {
    pub(super) gpu: &'a Arc<Gpu>,
    pub(super) dataset: &'a Dataset,
    /// The data set as the network sees it.
    pub(super) facts: &'a Fingerprint,
    pub(super) trials: Trials,
    pub(super) memory: Option<u64>,
}

impl Bench<'_> {
    /// Tries the configuration of the rules, which was `measured`, and as many candidates as there are to be. Empty where there are too
    /// few cases to compare on, or no candidate applies.
    ///
    /// # Errors
    /// [`TrainError`] when the device failed or a file cannot be read.
    pub(super) fn run(
        &self,
        rules: &Design,
        measured: &Measured,
        noted: &mut impl FnMut(&str),
    ) -> Result<Vec<Trial>, TrainError> {
        let split = split_of(self.dataset, &rules.config)?;
        let (mut train, mut held) = (self.dataset.select(&split.train), self.dataset.select(&split.validation));
        let of_case = (measured.validation_seconds / held.len().max(1) as f64).max(1e-9);
        // Of few cases some that train later are held out now.
        while held.len() < HELD[0] && train.len() > HELD[0] {
            held.extend(train.pop());
        }
        let candidates = self.candidates(rules)?;
        if candidates.is_empty() || held.len() < HELD[0] {
            return Ok(Vec::new());
        }
        let most = ((PREDICTING * self.trials.time.as_secs_f64() / of_case) as usize).clamp(HELD[0], HELD[1]);
        held.truncate(most);
        let classes = self.dataset.classes.as_ref();
        let windows = rules.config.resolved(rules.patch, self.facts.channels, classes, &train)?.data.ct_window;
        let mut trials = Vec::new();
        let mut run = |name: &'static str, design: Design, measured: Measured| -> Result<(), TrainError> {
            noted(&format!("trying for {:.0} s: {name}", self.trials.time.as_secs_f64()));
            let mut config = design.config.clone();
            config.data.ct_window = windows.clone();
            config.data.align = self.dataset.align;
            let outcome = self.train(config, &design, &measured, (&train, &held))?;
            trials.push(Trial { name, design, measured, ..outcome });
            Ok(())
        };
        run("rules", rules.clone(), measured.clone())?;
        for (name, design) in candidates {
            // Equal work is equal time, whatever else the machine does meanwhile.
            let measured = match is_as_much(&design, rules) {
                true => measured.clone(),
                false => Measured::of(self.gpu, &design, self.dataset, self.facts)?,
            };
            run(name, design, measured)?;
        }
        Ok(trials)
    }

    /// The first of the candidates that apply to the rules' configuration and fit the device.
    fn candidates(&self, rules: &Design) -> Result<Vec<(&'static str, Design)>, TrainError> {
        let mut found = Vec::new();
        for candidate in CANDIDATES {
            let design = if found.len() + 1 < self.trials.count { candidate.of(rules, self.facts)? } else { None };
            let fits = |design: &Design| candidates::fits(design, self.facts, self.memory, self.gpu.target());
            found.extend(design.filter(fits).map(|design| (candidate.name, design)));
        }
        Ok(found)
    }

    /// Trains for the time of a trial, with the schedule of so many steps, and predicts the cases that were held out.
    fn train(
        &self,
        mut config: Config,
        design: &Design,
        measured: &Measured,
        (train, held): (&[Case], &[Case]),
    ) -> Result<Trial, TrainError> {
        let time = self.trials.time.as_secs_f64();
        config.training.steps = ((time / measured.step_seconds) as u64).max(LEAST_STEPS);
        config.schedule.warm_up = config.schedule.warm_up.min(config.training.steps / LEAST_STEPS);
        let ([x, y, z], network) = (design.patch, self.facts.network(&config));
        let mut trainer = Trainer::new(self.gpu, &network, &config.trainer_settings(), [z, y, x])?;
        trainer.initialise(config.seed, config.network.head_gain);
        let preparation = config.preparation(design.patch, self.facts.channels, self.facts.classes);
        let settings = config.loader_settings(design.patch, trainer.pass_batch(), 0);
        let mut loader = Loader::start(train.to_vec(), preparation.clone(), settings)?;
        let (begin, mut losses) = (Instant::now(), Vec::new());
        while trainer.step_count() < config.training.steps && begin.elapsed().as_secs_f64() < OVERTIME * time {
            let batches = (0..trainer.passes()).map(|_| loader.next()).collect::<Result<Vec<Batch>, _>>()?;
            losses.extend(trainer.step(&batches, config.learning_rate(trainer.step_count()))?);
        }
        losses.extend(trainer.finish()?);
        let seconds = begin.elapsed().as_secs_f64();
        let losses: Vec<f64> = losses.iter().map(|result| result.loss).collect();
        let tenth = losses.len().div_ceil(10);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        let losses = [mean(&losses[..tenth]), mean(&losses[losses.len() - tenth..])];
        let predictor = Predictor::sharing(trainer.executor(), trainer.best_arena(), &network, design.patch)?;
        let dice = held.iter().map(|case| {
            let prepared = prepare_pair(case, &preparation, Fit::Whole)?;
            soft_dice(&predictor, &prepared, &preparation)
        });
        Ok(Trial {
            name: "",
            design: design.clone(),
            measured: measured.clone(),
            steps: trainer.step_count(),
            seconds,
            losses,
            dice: dice.collect::<Result<_, TrainError>>()?,
        })
    }
}

/// Whether the steps of two designs do the same work.
fn is_as_much(one: &Design, other: &Design) -> bool {
    let of = |design: &Design| (design.patch, design.config.training.clone(), design.config.augmentation);
    of(one) == of(other) && one.config.network == other.config.network
}

/// Mean soft Dice of the foreground outputs that the label has, over the voxels that are not ignored: 2 sum(p g) / (sum(p) + sum(g)).
/// It tells networks apart that do not yet find anything with more than half the probability. A prediction that is not finite is 0.
fn soft_dice(predictor: &Predictor, prepared: &Prepared, preparation: &Preparation) -> Result<f64, TrainError> {
    let label = prepared.label.as_deref().expect("a pair has a label");
    let numbers = preparation.labels.as_ref().map(Classes::device_labels);
    let decision = preparation.decision();
    let (outputs, first) = (decision.outputs(), decision.first_kept());
    let is_part = |class: u16, output: usize| match (&numbers, first) {
        // A mask of regions.
        (Some(masks), 0) => masks.get(usize::from(class)).is_some_and(|mask| mask >> output & 1 == 1),
        _ => usize::from(class) == output,
    };
    let (mut both, mut either, mut found) = (vec![0.0; outputs], vec![0.0; outputs], vec![false; outputs]);
    let mut voxel = 0;
    let take = |slab: &[f32]| {
        for probabilities in slab.chunks_exact(outputs) {
            let class = label[voxel];
            voxel += 1;
            if class == IGNORED {
                continue;
            }
            for output in first..outputs {
                let (p, g) = (f64::from(probabilities[output]), is_part(class, output));
                both[output] += if g { p } else { 0.0 };
                either[output] += p + f64::from(g);
                found[output] |= g;
            }
        }
    };
    predictor.predict_slabs(prepared, take, |_, _| ControlFlow::Continue(()))?;
    let of: Vec<f64> = (first..outputs).filter(|&o| found[o]).map(|o| 2.0 * both[o] / either[o]).collect();
    let mean = of.iter().sum::<f64>() / of.len().max(1) as f64;
    Ok(if mean.is_finite() { mean } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::Nominal;
    use crate::plan::MemoryReport;
    use crate::train::{Forecast, Preset};

    fn trial(name: &'static str, dice: &[f64]) -> Trial {
        let forecast = Forecast {
            step: MemoryReport::default(),
            validation: 0,
            staging: 0,
            passes: 1,
            arenas: 4,
            kernels: 9,
            recomputed: 0.0,
        };
        let measured = Measured { step_seconds: 0.1, validation_seconds: 1.0, test_seconds: 2.0, forecast };
        let design = Design { config: Preset::Tiny.config(), patch: [8; 3], reasons: Vec::new() };
        Trial { name, design, measured, steps: 10, seconds: 2.0, losses: [1.5, 0.5], dice: dice.to_vec() }
    }

    #[test]
    fn a_gain_must_exceed_the_noise_of_the_cases_and_a_hundredth() {
        let rules = trial("rules", &[0.5, 0.6, 0.7]);
        let of = |others: &[Trial]| best(&[std::slice::from_ref(&rules), others].concat()).name;
        // Gains of 0.05 to 0.07: mean 0.06, standard error 0.01 / sqrt(3).
        let better = trial("wide", &[0.55, 0.66, 0.77]);
        approx::assert_relative_eq!(better.gain(&rules)[0], 0.06, max_relative = 1e-12);
        approx::assert_relative_eq!(better.gain(&rules)[1], 0.01 / 3f64.sqrt(), max_relative = 1e-9);
        assert_eq!(of(std::slice::from_ref(&better)), "wide");
        // As much on average, by one case alone.
        assert_eq!(of(&[trial("wide", &[0.5, 0.6, 0.88])]), "rules");
        assert_eq!(of(&[trial("wide", &[0.509, 0.609, 0.709])]), "rules");
        assert_eq!(of(&[better, trial("small patch", &[0.6, 0.7, 0.8])]), "small patch");
        assert_eq!((of(&[]), of(&[trial("small patch", &[0.4, 0.5, 0.6])])), ("rules", "rules"));
        assert_eq!(rules.loss_per_second(), 0.5);
    }

    #[test]
    fn trials_take_a_fifth_of_the_minutes_and_a_minute_each_at_most() {
        let within = |minutes: f64, count: Option<usize>| {
            let budget = Budget { minutes, memory: None, nominal: Nominal { minutes, factor: 1.0 } };
            let Trials { count, time } = Trials::within(&budget, count);
            (count, time.as_secs_f64())
        };
        assert_eq!(within(480.0, None), (3, 60.0));
        assert_eq!(within(10.0, None), (3, 40.0));
        assert_eq!(within(5.0, None), (1, 20.0), "too short to tell anything");
        assert_eq!(within(2.0, Some(2)), (2, 8.0));
        assert_eq!(within(60.0, Some(99)), (CANDIDATES.len() + 1, 60.0));
    }
}
