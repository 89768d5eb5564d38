//! Calibration of a case: its label beside the probabilities that `segment --probabilities` has written.

use super::pairs::Declared;
use super::score::Maps;
use super::{CaseFiles, EvaluateError};
use crate::data::io::probability_path;
use crate::data::{DataError, Placed, read_channels_on};
use crate::metrics::{CalibrationCounts, IGNORED};
use std::path::{Path, PathBuf};

/// A volume with values beyond 0 to 1 by more than this holds no probabilities; interpolation and float32 stay below.
const SLACK: f32 = 1e-3;

impl Declared<'_> {
    /// Bins and squares of a case.
    pub(super) fn calibration(
        &self,
        folder: &Path,
        pair: &CaseFiles,
        maps: &Maps,
    ) -> Result<CalibrationCounts, EvaluateError> {
        let files = self.probability_files(folder, pair)?;
        let on = Placed { path: &pair.label, header: &maps.header };
        let read = |class: usize| probabilities_in(&files[class - 1], on);
        let ignored = |voxel: usize| maps.ignored.get(voxel) == Some(&true);
        let mut truth = maps.label.voxels.clone();
        if !self.regions().is_empty() {
            let classes = self.classes().expect("regions are those of classes");
            let regions = classes.targets();
            let inside = |region: usize, voxel: usize| {
                let class = classes.class_of(maps.label.voxels[voxel]);
                class.is_some_and(|class| regions[region - 1].contains(class))
            };
            let hidden = truth.iter_mut().enumerate().filter(|(voxel, _)| ignored(*voxel));
            hidden.for_each(|(_, value)| *value = IGNORED);
            return Ok(CalibrationCounts::of_regions(&truth, files.len(), inside, read)?);
        }
        let numbers = self.numbers(files.len());
        for (voxel, value) in truth.iter_mut().enumerate() {
            *value = match numbers[usize::from(*value)] {
                _ if ignored(voxel) => IGNORED,
                Some(number) => number,
                None => {
                    let count = files.len();
                    let text =
                        format!("value {value} is none of the {count} classes that {} has probabilities of", pair.case);
                    return Err(DataError::unusable(&pair.label, text).into());
                }
            };
        }
        Ok(CalibrationCounts::of_classes(&truth, files.len(), read)?)
    }

    /// For each value the number of its class, background 0.
    fn numbers(&self, count: usize) -> Vec<Option<u16>> {
        let values = match self.classes() {
            Some(classes) => classes.written(),
            None => (0..=u16::try_from(count).unwrap_or(u16::MAX)).collect(),
        };
        let mut numbers = vec![None; usize::from(u16::MAX) + 1];
        for (number, value) in (0..).zip(values) {
            numbers[usize::from(value)] = Some(number);
        }
        numbers
    }

    /// Value and name of what the probabilities are of, in the order of the files.
    pub(super) fn calibrated(&self, count: usize, scored: &[(u16, String)]) -> Vec<(u16, String)> {
        if !self.regions().is_empty() {
            let targets = self.classes().map(|classes| classes.targets()).unwrap_or_default();
            return targets.into_iter().map(|target| (target.value, target.name)).collect();
        }
        let values = match self.classes() {
            Some(classes) => classes.written().split_off(1),
            None => (1..=u16::MAX).take(count).collect(),
        };
        let name = |value: u16| {
            let known = scored.iter().find(|(of, _)| *of == value).map(|(_, name)| name.clone());
            (value, known.unwrap_or_else(|| self.name(value)))
        };
        values.into_iter().map(name).collect()
    }

    /// The files of a case: of every declared class or region, or as many as there are.
    fn probability_files(&self, folder: &Path, pair: &CaseFiles) -> Result<Vec<PathBuf>, EvaluateError> {
        let file = folder.join(pair.prediction.file_name().unwrap_or_default());
        let declared = self.classes().map(|classes| match self.regions().len() {
            0 => classes.count() - 1,
            regions => regions,
        });
        let files = (1..).map(|class| probability_path(&file, class));
        let files: Vec<PathBuf> = match declared {
            Some(count) => files.take(count).collect(),
            None => files.take_while(|file| file.exists()).collect(),
        };
        if !files.is_empty() && files.iter().all(|file| file.exists()) {
            return Ok(files);
        }
        let cases = vec![pair.case.clone()];
        let for_what =
            " as its prediction with _prob1, _prob2, … for every class, as segment --probabilities writes them";
        let (folder, passed_over) = (folder.to_owned(), Vec::new());
        Err(EvaluateError::Missing { folder, what: "probabilities", cases, for_what, passed_over })
    }
}

/// The probabilities of a file in the order of the voxels of a label.
fn probabilities_in(path: &Path, on: Placed<'_>) -> Result<Vec<f32>, DataError> {
    let volume = read_channels_on(&path.to_path_buf().into(), on)?.swap_remove(0);
    match volume.voxels.iter().find(|p| !(-SLACK..=1.0 + SLACK).contains(*p)) {
        Some(p) => Err(DataError::unusable(path, format!("holds {p}, expected probabilities from 0 to 1"))),
        None => Ok(volume.voxels),
    }
}
