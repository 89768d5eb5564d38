//! Plans: configurations chosen from the data and the device, with reasons, as nnU-Net does (Isensee et al. 2021).
//!
//! | module | what it answers |
//! |---|---|
//! | [`fingerprint`] | what the volumes of a data set are like |
//! | [`rules`] | the configuration that follows, without a device: pure functions |
//! | [`probe`] | memory and time of a step on the device at hand |
//! | [`candidates`], [`trials`] | other configurations, and which of them is best after the same time |
//! | [`document`] | the TOML file, in which each key has its reason |
//!
//! docs/decisions/0012-plans.md says which of nnU-Net's rules are used and which are not.

pub mod candidates;
pub mod document;
pub mod fingerprint;
pub mod probe;
pub mod rules;
pub mod trials;

pub use candidates::{CANDIDATES, Candidate, PatchRule, Times};
pub use fingerprint::{CaseFacts, ChannelFacts, Fingerprint};
pub use probe::{Measured, Nominal};
pub use rules::{Budget, Design, Reason, design};
pub use trials::{Trial, Trials};

use crate::data::{Dataset, DatasetOptions, Examined, Warnings, lost_foreground};
use crate::gpu::Gpu;
use crate::train::TrainError;
use std::path::Path;
use std::sync::Arc;

/// What a plan is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Wish {
    /// Minutes of the training; `None`: [`Nominal::minutes`] of the device.
    pub minutes: Option<f64>,
    /// Configurations to try, that of the rules included; `None`: as [`Trials::within`] says.
    pub trials: Option<usize>,
}

/// A plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The text of a TOML file.
    pub text: String,
    /// What is unusual about the files of the data set.
    pub warnings: Warnings,
}

/// Measures a data set and a device, and chooses a configuration that trains in about the minutes of `wish`.
///
/// `options` are what the user says of the data set; the plan repeats them. `noted` is called with what is
/// being done.
///
/// # Errors
/// [`TrainError`] that names the file, or says that nothing fits the device.
pub fn plan(
    gpu: &Arc<Gpu>,
    data: &Path,
    options: &DatasetOptions,
    wish: Wish,
    mut noted: impl FnMut(&str),
) -> Result<Plan, TrainError> {
    let (dataset, Examined { classes, channels, mut warnings, .. }) = Dataset::open_checked(data, options.clone())?;
    noted(&format!("measuring {} cases", dataset.cases.len()));
    let fingerprint = Fingerprint::of(&dataset, channels, &classes)?;
    let nominal = Nominal::of(gpu.description());
    let budget = Budget { minutes: wish.minutes.unwrap_or(nominal.minutes), memory: gpu.memory_budget(), nominal };
    let mut design = design(&fingerprint, &budget, gpu.target())?;
    design.config.data.declare(dataset.classes.as_ref());
    noted("timing steps and predictions for a few seconds");
    if !design.config.data.crop.is_none() {
        for (case, facts) in dataset.cases.iter().zip(&fingerprint.cases).filter(|(_, facts)| facts.lost[1] > 0) {
            warnings.add(&case.label, lost_foreground(facts.lost));
        }
    }
    let seen = fingerprint.seen(design.config.data.crop);
    let mut measured = Measured::of(gpu, &design, &dataset, &seen)?;
    let (trials, memory) = (Trials::within(&budget, wish.trials), budget.memory);
    let bench = trials::Bench { gpu, dataset: &dataset, facts: &seen, trials, memory };
    let tried = bench.run(&design, &measured, &mut noted)?;
    if !tried.is_empty() {
        measured = design.take_best(&tried);
    }
    design.set_length(&measured, &budget);
    let heading = document::Heading {
        data,
        options,
        device: gpu.description(),
        fingerprint: &fingerprint,
        design: &design,
        measured: &measured,
        tried: &tried,
        warnings: &warnings,
    };
    Ok(Plan { text: heading.document(), warnings })
}
