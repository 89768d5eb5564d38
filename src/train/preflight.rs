//! Checks before the first step, without a device and without writing anything.

use super::folder::{choose_split, refuse_used};
use super::run::initial_model;
use super::{RunSettings, TrainError, checkpoint, choose_patch};
use crate::data::{Classes, Dataset, DatasetOptions, Split, Warnings};
use crate::nn::Network;
use std::path::Path;

/// The data set of a training, and everything that is wrong with it.
#[derive(Debug)]
pub struct CheckedData {
    /// The cases that have image and label; `None` without a data set.
    pub dataset: Option<Dataset>,
    /// The classes.
    pub classes: Classes,
    /// Channels of each image.
    pub channels: usize,
    /// Voxels of the largest image.
    pub most_voxels: usize,
    /// All problems, in the order of the cases.
    pub problems: Vec<TrainError>,
    /// What is unusual about the files.
    pub warnings: Warnings,
}

/// What is trained, if nothing is wrong.
#[derive(Debug)]
pub struct Preflight {
    /// Which cases train, validate and test.
    pub split: Split,
    /// The network.
    pub network: Network,
    /// Extents x, y, z of its input.
    pub patch: [usize; 3],
}

/// Reads every file of a data set to its end; `options` are those of the configuration.
pub fn check_data(dir: &Path, options: DatasetOptions) -> CheckedData {
    match Dataset::survey(dir, options) {
        Err(error) => {
            let (classes, problems) = (Classes::numbered(2), vec![error.into()]);
            CheckedData { dataset: None, classes, channels: 1, most_voxels: 0, problems, warnings: Warnings::default() }
        }
        Ok((dataset, mut problems)) => {
            let examined = dataset.examine();
            problems.extend(examined.problems);
            CheckedData {
                dataset: Some(dataset),
                classes: examined.classes,
                channels: examined.channels,
                most_voxels: examined.most_voxels,
                problems: problems.into_iter().map(TrainError::from).collect(),
                warnings: examined.warnings,
            }
        }
    }
}

/// Checks configuration, split, run folder, the model to start from and the checkpoint to resume from, for data that
/// [`check_data`] found sound.
///
/// # Errors
/// All problems of these.
pub fn preflight(
    settings: &RunSettings,
    dataset: &Dataset,
    channels: usize,
    classes: &Classes,
) -> Result<Preflight, Vec<TrainError>> {
    let mut problems = Vec::new();
    let mut note = |result: Result<(), TrainError>| problems.extend(result.err());
    note(settings.config.check_channels(channels).map_err(TrainError::from));
    let valid = settings.config.network_of(channels, classes);
    let is_valid = valid.is_ok();
    // An invalid one still has a divisor.
    let network = valid.as_ref().map_or_else(|_| settings.config.network(channels, classes.outputs()), Network::clone);
    note(valid.map(drop).map_err(TrainError::from));
    if is_valid {
        note(settings.config.trainer_settings().frozen(&network).map(drop));
    }
    note(refuse_used(&settings.out, settings.resume));
    if let (Some(path), true) = (&settings.init, is_valid) {
        note(initial_model(path, &network).map(drop));
    }
    let mut patch = None;
    if settings.resume {
        note(checkpoint::newest(&settings.out).and_then(|found| {
            patch = Some(found.checkpoint.state.patch);
            if is_valid { found.checkpoint.check(&network) } else { Ok(()) }
        }));
    }
    let mut split = None;
    note(choose_split(settings, dataset).map(|chosen| split = Some(chosen)));
    if let (None, Some(split), true) = (patch, &split, is_valid) {
        let training = dataset.select(&split.train);
        note(choose_patch(&settings.config, &training, network.divisor()).map(|chosen| patch = Some(chosen)));
    }
    match (split, patch) {
        (Some(split), Some(patch)) if problems.is_empty() => Ok(Preflight { split, network, patch }),
        _ => Err(problems),
    }
}
