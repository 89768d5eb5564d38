//! Pairs of a prediction and a label, and the classes that they have.

use super::{CaseFiles, EvaluateError, Scoring};
use crate::data::dataset::label_maps_of;
use crate::data::error::some_of;
use crate::data::folder::Folder;
use crate::data::io::read_header;
use crate::data::layout::channel_suffix;
use crate::data::{Classes, DataError, ImageFiles, LabelMap, Manifest, Notice, Target, Warnings, declared_classes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The pairs of two folders, and the cases without a partner.
pub(super) struct Pairs {
    predictions: PathBuf,
    labels: PathBuf,
    pub(super) pairs: Vec<CaseFiles>,
    /// Cases with a label.
    all: usize,
    /// Cases with a label and no prediction.
    pub(super) missing: Vec<String>,
    /// Cases with a prediction and no label.
    strangers: Vec<String>,
    /// Files of the folders that are not read.
    pub(super) warnings: Warnings,
    passed_over: Vec<Notice>,
}

/// Pairs the labels of a folder with their predictions.
pub(super) fn pairs_of(predictions: &Path, labels: &Path) -> Result<Pairs, DataError> {
    let mut predicted = predictions_in(predictions)?;
    let mut pairs = Vec::new();
    let mut missing = Vec::new();
    let references = references_in(labels)?;
    let all = references.volumes.len();
    for (case, label) in references.volumes {
        match predicted.volumes.remove(&case) {
            Some(prediction) => pairs.push(CaseFiles { case, prediction, label, image: None }),
            None => missing.push(case),
        }
    }
    let strangers = std::mem::take(&mut predicted.volumes).into_keys().collect();
    let mut warnings = references.warnings;
    warnings.append(predicted.warnings.clone());
    let passed_over = predicted.take_passed_over();
    let (predictions, labels) = (predictions.to_owned(), labels.to_owned());
    Ok(Pairs { predictions, labels, pairs, all, missing, strangers, warnings, passed_over })
}

impl Pairs {
    /// Cases without a partner; with `partial`, labels may lack predictions as long as one has one.
    pub(super) fn problems(&self, partial: bool) -> Vec<EvaluateError> {
        let mut problems = Vec::new();
        if !self.missing.is_empty() && (!partial || self.pairs.is_empty()) {
            let (folder, cases, passed_over) =
                (self.predictions.clone(), self.missing.clone(), self.passed_over.clone());
            let for_what = " for every label (--partial scores the others)";
            problems.push(EvaluateError::Missing { folder, what: "prediction", cases, for_what, passed_over });
        }
        if !self.strangers.is_empty() {
            let (folder, cases, passed_over) = (self.labels.clone(), self.strangers.clone(), Vec::new());
            let for_what = " for every prediction";
            problems.push(EvaluateError::Missing { folder, what: "label", cases, for_what, passed_over });
        }
        problems
    }

    /// A note on labels that were left out.
    pub(super) fn note(&self) -> Option<String> {
        let (folder, cases) = (self.predictions.display(), some_of(&self.missing));
        let (scored, all) = (self.pairs.len(), self.all);
        (!self.missing.is_empty())
            .then(|| format!("{folder}: {scored} of {all} labels are scored, no prediction for {cases}"))
    }
}

/// The references by case: the label maps of a folder, or those that a table names.
pub(super) fn references_in(labels: &Path) -> Result<Folder, DataError> {
    if !Manifest::is_named(labels) {
        return label_maps_of(labels);
    }
    let volumes = Manifest::read_labels(labels)?.labels();
    if volumes.is_empty() {
        return Err(DataError::unusable(labels, "names no label, expected a column label with files"));
    }
    Ok(Folder::of(labels, volumes))
}

/// Images by case: those of a folder, or those that a table names. Files `NAME_0000`, `NAME_0001`, … are the channels of an image `NAME`, where there is no other image of this name.
pub(super) fn images_in(images: &Path) -> Result<BTreeMap<String, ImageFiles>, DataError> {
    if Manifest::is_named(images) {
        let rows = Manifest::read_images(images)?.rows.into_iter();
        return Ok(rows.map(|row| (row.name, row.image)).collect());
    }
    let volumes = Folder::with_volumes(images)?.volumes;
    let mut channels: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (name, file) in &volumes {
        if let Some((case, _)) = channel_suffix(name) {
            channels.entry(case.to_owned()).or_default().push(file.clone());
        }
    }
    let mut found: BTreeMap<String, ImageFiles> =
        channels.into_iter().map(|(case, files)| (case, ImageFiles::of_channels(files))).collect();
    found.extend(volumes.into_iter().map(|(name, file)| (name, file.into())));
    Ok(found)
}

/// Label maps of a folder by case, without the maps of probabilities that this program has written beside them. A file whose
/// header cannot be read stays: reading it will say why.
pub(super) fn predictions_in(folder: &Path) -> Result<Folder, DataError> {
    let mut predicted = label_maps_of(folder)?;
    predicted.volumes.retain(|_, path| !read_header(path).is_ok_and(|header| header.is_probability()));
    Ok(predicted)
}

/// The classes that are scored even if they do not occur, and the meaning of values.
pub(super) struct Declared<'a> {
    pub(super) scoring: &'a Scoring<'a>,
    /// Classes of the `dataset.json` of the labels: names of values; other values may occur.
    named: Option<Classes>,
}

impl<'a> Declared<'a> {
    /// Only the classes that `scoring` gives.
    pub(super) fn by(scoring: &'a Scoring<'a>) -> Self {
        Self { scoring, named: None }
    }

    /// Where no classes are given, those of the `dataset.json` that lies in the folder of the labels or beside it.
    pub(super) fn of(labels: &Path, scoring: &'a Scoring<'a>) -> Result<Self, DataError> {
        let beside = labels.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = match scoring.classes {
            Some(_) => None,
            None if Manifest::is_named(labels) => declared_classes(beside)?,
            None => declared_classes(labels)?.map_or_else(|| declared_classes(beside), |found| Ok(Some(found)))?,
        };
        Ok(Self { scoring, named })
    }

    pub(super) fn classes(&self) -> Option<&Classes> {
        self.scoring.classes.or(self.named.as_ref())
    }

    /// Whether a value says that a voxel takes no part in the scores.
    pub(super) fn is_ignored(&self, value: u16) -> bool {
        let declared = || self.classes().is_some_and(|classes| classes.ignored().contains(&value));
        self.scoring.ignore.contains(&value) || declared()
    }

    /// The regions that are scored in place of classes, by the value that is written for each.
    pub(super) fn regions(&self) -> Vec<Target> {
        let classes = self.classes().filter(|classes| !classes.regions().is_empty());
        let mut regions = classes.map(Classes::targets).unwrap_or_default();
        regions.sort_by_key(|region| region.value);
        regions
    }

    /// Merges the values of each class into one; voxels that are ignored become background.
    pub(super) fn merge(&self, path: &Path, map: &mut LabelMap) -> Result<(), DataError> {
        let (background, ignored) = (self.background(), self.table(|value| self.is_ignored(value)));
        map.voxels.iter_mut().filter(|value| ignored[usize::from(**value)]).for_each(|value| *value = background);
        let Some(classes) = self.scoring.classes else { return Ok(()) };
        classes.number(path, map)?;
        classes.to_values(&mut map.voxels);
        Ok(())
    }

    /// The value of background.
    pub(super) fn background(&self) -> u16 {
        self.classes().map_or(0, |classes| classes.written()[0])
    }

    /// For each value what is said of it.
    pub(super) fn table(&self, of: impl Fn(u16) -> bool) -> Vec<bool> {
        (0..=u16::MAX).map(of).collect()
    }

    /// The values that are scored even if they do not occur.
    pub(super) fn values(&self) -> Vec<u16> {
        let regions = self.regions();
        if !regions.is_empty() {
            return regions.iter().map(|region| region.value).collect();
        }
        self.classes().map(|classes| classes.written().split_off(1)).unwrap_or_default()
    }

    /// The name of a value.
    pub(super) fn name(&self, value: u16) -> String {
        if let Some(region) = self.regions().into_iter().find(|region| region.value == value) {
            return region.name;
        }
        let known = self.classes().and_then(|classes| classes.foreground().into_iter().find(|(v, _)| *v == value));
        known.map_or_else(|| format!("class {value}"), |(_, name)| name)
    }
}
