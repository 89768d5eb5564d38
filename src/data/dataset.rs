//! Data sets as they lie in folders: which volumes belong together, and whether they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::alignment::{Placed, reordering};
use super::error::{also, some_of};
use super::folder::Folder;
use super::io::{Header, check_volume, label_values, read_header};
use super::prepare::{MOST_VOXELS, check_extents};
use super::proof::{absent, named, prove};
use super::volume::position_of;
use super::{Classes, DataError, Grid, Warning, Warnings, declared_classes};

/// An image and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// File name without the ending, as [`case_name`].
    pub name: String,
    /// The image.
    pub image: PathBuf,
    /// Its label map.
    pub label: PathBuf,
}

/// Cases of one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The folder.
    pub dir: PathBuf,
    /// Cases, by name.
    pub cases: Vec<Case>,
    /// The classes that are declared, by the configuration, by `dataset.json` or by the label maps themselves; none where the labels prove them
    /// ([`Dataset::examine`]).
    pub classes: Option<Classes>,
    /// What else the folders hold, which is not read.
    pub warnings: Warnings,
}

/// What the label `NAME_segmentation` of an image `NAME` in the same folder is called, as in PROMISE12.
const LABEL_SUFFIX: &str = "_segmentation";

/// The folders of images and labels in the layouts that are recognised, in this order.
const LAYOUTS: [[&str; 2]; 2] = [["images", "labels"], ["imagesTr", "labelsTr"]];
const SECOND: &str = "passed over, the folder holds two data sets and the other one is read";

impl Dataset {
    /// Finds the cases of a data set: `images/` and `labels/` with equal file names (the endings may differ), or the Medical
    /// Segmentation Decathlon's `imagesTr/` and `labelsTr/`, with the classes of `dataset.json` where there is one, or, as
    /// PROMISE12 comes, volumes `NAME` and labels `NAME_segmentation` in one folder. Every image needs a label and the other
    /// way round. An image may be a folder with a DICOM series. Files are listed, not read: see [`Dataset::check`].
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open(dir: &Path) -> Result<Dataset, DataError> {
        Dataset::open_as(dir, None)
    }

    /// As [`Dataset::open`], with classes that replace those of `dataset.json`.
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open_as(dir: &Path, classes: Option<&Classes>) -> Result<Dataset, DataError> {
        let (dataset, problems) = Dataset::survey(dir, classes)?;
        DataError::one_or_many(dir, problems)?;
        Ok(dataset)
    }

    /// As [`Dataset::open_as`] and [`Dataset::examine`] in one: the data set and what was found in it, without problems.
    ///
    /// # Errors
    /// The problem, or all of both as [`DataError::Many`].
    pub fn open_checked(dir: &Path, classes: Option<&Classes>) -> Result<(Dataset, Examined), DataError> {
        let (dataset, mut problems) = Dataset::survey(dir, classes)?;
        let mut examined = dataset.examine();
        problems.append(&mut examined.problems);
        DataError::one_or_many(dir, problems)?;
        Ok((dataset, examined))
    }

    /// The cases that have image and label, and what is wrong with the other files. `classes`, if there are any, replace those
    /// of `dataset.json`.
    ///
    /// # Errors
    /// [`DataError`] where there is no data set at all.
    pub fn survey(dir: &Path, classes: Option<&Classes>) -> Result<(Dataset, Vec<DataError>), DataError> {
        let layouts = LAYOUTS.map(|names| names.map(|name| dir.join(name)));
        let mut layouts = layouts.iter().filter(|folders| folders.iter().all(|folder| folder.is_dir()));
        let mut problems = Vec::new();
        let (mut images, mut labels) = match layouts.next() {
            Some([images, labels]) => {
                let (mut images, labels) = (Folder::list(images)?, Folder::list(labels)?);
                if images.volumes.is_empty() {
                    return Err(images.without_volumes());
                }
                (images, labels)
            }
            None => {
                let mut images = Folder::list(dir)?;
                let mut labels = take_labels(&mut images);
                if labels.volumes.is_empty() {
                    let passed_over = labels.take_passed_over();
                    return Err(DataError::NoDataset { dir: dir.to_path_buf(), passed_over });
                }
                (images, labels)
            }
        };
        let cases = pair(&mut images, &mut labels, &mut problems);
        let mut warnings = images.warnings;
        warnings.append(labels.warnings);
        for [second, _] in layouts {
            warnings.add(second, Warning::with(SECOND, images.dir.display().to_string()));
        }
        let declared = || Ok(declared_classes(dir)?.or_else(|| named(&cases)));
        let declared = classes.map_or_else(declared, |classes| Ok(Some(classes.clone())));
        let classes = declared.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        Ok((Dataset { dir: dir.to_path_buf(), cases, classes, warnings }, problems))
    }

    /// Names of the cases, in order.
    pub fn names(&self) -> Vec<String> {
        self.cases.iter().map(|case| case.name.clone()).collect()
    }

    /// The cases of the given names, in that order; names that the data set lacks are left out (a
    /// [`super::Split`] is checked when it is loaded).
    pub fn select(&self, names: &[String]) -> Vec<Case> {
        let by_name: BTreeMap<&str, &Case> = self.cases.iter().map(|case| (case.name.as_str(), case)).collect();
        names.iter().filter_map(|name| by_name.get(name.as_str()).map(|case| (*case).clone())).collect()
    }

    /// Reads every file to its end, a piece in memory at a time: three axes, image and label on one grid, finite
    /// intensities of more than one value, labels whole and of declared classes.
    ///
    /// Returns the classes: those that are declared, else 0 to the largest label value, of which each must occur in some
    /// case. Some voxel must be foreground. All problems are reported at once, as [`DataError::Many`].
    pub fn check(&self) -> Result<Classes, DataError> {
        Ok(self.examine_sound()?.classes)
    }

    /// As [`Dataset::examine`], without problems.
    ///
    /// # Errors
    /// All problems at once, as [`DataError::Many`].
    pub fn examine_sound(&self) -> Result<Examined, DataError> {
        let examined = self.examine();
        if examined.problems.is_empty() {
            return Ok(examined);
        }
        Err(DataError::Many { dir: self.dir.clone(), problems: examined.problems })
    }

    /// As [`Dataset::check`], but problems are part of the result.
    pub fn examine(&self) -> Examined {
        let declared = self.classes.as_ref();
        let cases: Vec<_> = self.cases.par_iter().map(|case| examine_case(case, declared)).collect();
        let mut warnings = self.warnings.clone();
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        let mut whole = !self.cases.is_empty();
        let mut most_voxels = 0;
        for (case, found) in self.cases.iter().zip(cases) {
            most_voxels = found.voxels.max(most_voxels);
            warnings.append(found.warnings);
            problems.extend(found.problems);
            whole &= found.values.is_some();
            for value in found.values.unwrap_or_default() {
                values.entry(value).or_insert(case.label.as_path());
            }
        }
        let proven = prove(&self.dir, declared, &values).unwrap_or_else(|problem| {
            // A label map that cannot be read may have the values that seem to be missing.
            problems.extend(whole.then_some(problem));
            Classes::numbered(2)
        });
        if let Some(warning) = declared.filter(|_| whole).and_then(|declared| absent(declared, &values)) {
            warnings.add(&self.dir, warning);
        }
        Examined { classes: proven, most_voxels, problems, warnings }
    }
}

/// What [`Dataset::examine`] finds.
#[derive(Debug)]
pub struct Examined {
    /// The classes; two where a problem leaves them open.
    pub classes: Classes,
    /// Voxels of the largest image.
    pub most_voxels: usize,
    /// In the order of the cases.
    pub problems: Vec<DataError>,
    /// What a person should know of the files, in the order of the cases.
    pub warnings: Warnings,
}

/// Cases of images and labels of equal names; the others are problems, with what is passed over where they are missing.
fn pair(images: &mut Folder, labels: &mut Folder, problems: &mut Vec<DataError>) -> Vec<Case> {
    problems.append(&mut images.problems);
    problems.append(&mut labels.problems);
    let mut cases = Vec::new();
    let mut without_label = Vec::new();
    let mut left = std::mem::take(&mut labels.volumes);
    for (name, image) in std::mem::take(&mut images.volumes) {
        match left.remove(&name) {
            Some(label) => cases.push(Case { name, image, label }),
            None => without_label.push(name),
        }
    }
    let suffix = channel_suffix(&without_label, &left);
    let mut unpaired = |folder: &mut Folder, missing: &str, names: Vec<String>, hint: &str| {
        if !names.is_empty() {
            let problem = format!("no {missing} for {}{hint}{}", some_of(&names), also(&folder.take_passed_over()));
            problems.push(DataError::unusable(&folder.dir, problem));
        }
    };
    unpaired(labels, "label", without_label, &suffix.unwrap_or_default());
    unpaired(images, "image", left.into_keys().collect(), "");
    cases
}

/// The end of a message where a label lacks nothing but the channel that nnU-Net writes after the name of an image (`_0000`).
fn channel_suffix(images: &[String], labels: &BTreeMap<String, PathBuf>) -> Option<String> {
    images.iter().find_map(|image| {
        let (name, channel) = image.rsplit_once('_')?;
        let found = channel.len() == 4 && channel.bytes().all(|b| b.is_ascii_digit()) && labels.contains_key(name);
        found.then(|| {
            format!("; the label {name} is there: _{channel} is nnU-Net's channel suffix, expected {image} without it")
        })
    })
}

/// Takes the labels `NAME_segmentation` out of the files of one folder, by `NAME`. What is passed over goes with them, because
/// a missing label is more often the reason than a missing image.
fn take_labels(images: &mut Folder) -> Folder {
    let is_label = |(name, _): &(String, PathBuf)| name.ends_with(LABEL_SUFFIX);
    let (labels, volumes): (BTreeMap<_, _>, _) = std::mem::take(&mut images.volumes).into_iter().partition(is_label);
    images.volumes = volumes;
    let of_image = |(name, path): (String, PathBuf)| (name[..name.len() - LABEL_SUFFIX.len()].to_owned(), path);
    let volumes = labels.into_iter().map(of_image).collect();
    Folder { dir: images.dir.clone(), volumes, warnings: std::mem::take(&mut images.warnings), problems: Vec::new() }
}

/// What is known of a case.
#[derive(Default)]
pub(super) struct ExaminedCase {
    /// The label values that occur; none where the label map cannot be read.
    values: Option<Vec<u16>>,
    voxels: usize,
    pub(super) problems: Vec<DataError>,
    warnings: Warnings,
}

pub(super) fn examine_case(case: &Case, declared: Option<&Classes>) -> ExaminedCase {
    let mut found = ExaminedCase::default();
    let image = examine_header(&case.image);
    let label = examine_header(&case.label);
    for (path, header) in [(&case.image, &image), (&case.label, &label)] {
        if let Ok((header, _)) = header {
            found.warnings.extend(path, header.warnings.iter().cloned());
        }
    }
    if let (Ok((image, _)), Ok((label, _))) = (&image, &label) {
        let label = Placed { path: &case.label, header: label };
        found.problems.extend(reordering(label, Placed { path: &case.image, header: image }).err());
    }
    match label.and_then(|(header, grid)| Ok((label_values(&case.label, &header)?, grid))) {
        Ok((values, grid)) => {
            found.problems.extend(declared.and_then(|classes| undeclared(&case.label, &values, &grid, classes)));
            found.values = Some(values.into_iter().map(|(value, _)| value).collect());
        }
        Err(error) => found.problems.push(error),
    }
    match image.and_then(|(header, grid)| Ok((check_volume(&case.image, &header)?, grid))) {
        Ok(([low, high], grid)) => {
            found.voxels = grid.voxel_count();
            if low == high {
                let problem = format!(
                    "every voxel has the value {low}: a blank image; expected at least two values, or a data set without this case"
                );
                found.problems.push(DataError::unusable(&case.image, problem));
            }
        }
        Err(error) => found.problems.push(error),
    }
    found
}

/// The first voxel of a label map whose value no class has, as a problem.
fn undeclared(path: &Path, values: &[(u16, usize)], grid: &Grid, classes: &Classes) -> Option<DataError> {
    let strangers = values.iter().filter(|(value, _)| classes.class_of(*value).is_none());
    let &(value, at) = strangers.min_by_key(|(_, at)| *at)?;
    Some(classes.undeclared(path, value, position_of(at, grid.extents)))
}

/// Header and grid of a volume of one real number per voxel that is not too large to be trained on.
fn examine_header(path: &Path) -> Result<(Header, Grid), DataError> {
    let header = read_header(path)?;
    let grid = header.grid(path)?;
    header.check_real(path)?;
    check_extents(path, grid.extents, MOST_VOXELS, ["", ""])?;
    Ok((header, grid))
}

/// The volumes of a folder to segment, by case: without labels `NAME_segmentation` that lie beside their volume `NAME`. Folders with
/// DICOM series are volumes too.
///
/// # Errors
/// As [`Folder::with_volumes`].
pub fn images_in(dir: &Path) -> Result<Folder, DataError> {
    let mut folder = Folder::with_volumes(dir)?;
    let names: Vec<String> = folder.volumes.keys().cloned().collect();
    let is_label = |name: &str| name.strip_suffix(LABEL_SUFFIX).is_some_and(|image| names.iter().any(|n| n == image));
    folder.volumes.retain(|name, _| !is_label(name));
    Ok(folder)
}

/// The volumes of [`images_in`], by file name; that function also tells what is passed over.
pub fn images_only(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(images_in(dir)?.volumes.into_values().collect())
}

/// The label maps of a folder by case: `NAME_segmentation` is the label of `NAME`. Where such labels lie
/// beside their images, as PROMISE12 comes, volumes of other names are images.
///
/// # Errors
/// [`DataError`] when the folder cannot be listed or has no volumes.
pub fn label_maps_of(dir: &Path) -> Result<Folder, DataError> {
    let mut plain = Folder::with_volumes(dir)?;
    let mut suffixed = take_labels(&mut plain);
    if !suffixed.volumes.keys().any(|case| plain.volumes.contains_key(case)) {
        suffixed.volumes.extend(plain.volumes);
    }
    Ok(suffixed)
}

/// The name of a case: as written, but with composed letters (Unicode's form NFC). The same name may come composed from one
/// file system and decomposed (`a` and a diaeresis for `ä`) from another.
pub fn case_name(written: &str) -> String {
    written.nfc().collect()
}
