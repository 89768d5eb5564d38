//! Data sets as they lie in folders: which volumes belong together, and whether they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::folder::Folder;
use super::io::input::read_text;
use super::io::{Header, check_volume, largest_label, read_header};
use super::prepare::{MOST_VOXELS, check_extents};
use super::{DataError, Grid, Warnings};

/// An image and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// File name without the ending.
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
    /// Names of the classes from 0 on, if the data set tells them, else empty.
    pub class_names: Vec<String>,
    /// What the folders hold beside the cases and is not read.
    pub warnings: Warnings,
}

/// Classes of a network, at most; a larger label is no class but a mistake.
const MOST_CLASSES: usize = 256;

/// What the label `NAME_segmentation` of an image `NAME` in the same folder is called, as in PROMISE12.
const LABEL_SUFFIX: &str = "_segmentation";

/// The folders of images and labels in the layouts that are recognised, in this order.
const LAYOUTS: [(&str, &str); 2] = [("images", "labels"), ("imagesTr", "labelsTr")];

impl Dataset {
    /// Finds the cases of a data set: `images/` and `labels/` with equal file names (the endings
    /// may differ), or the Medical Segmentation Decathlon's `imagesTr/` and `labelsTr/`, with the
    /// class names of `dataset.json` where there is one, or, as PROMISE12 comes, volumes `NAME` and
    /// labels `NAME_segmentation` in one folder. Every image needs a label and the other way round.
    /// An image may be a folder with a DICOM series. Files are listed, not read: see
    /// [`Dataset::check`].
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open(dir: &Path) -> Result<Dataset, DataError> {
        let (dataset, problems) = Dataset::survey(dir)?;
        DataError::one_or_many(dir, problems)?;
        Ok(dataset)
    }

    /// As [`Dataset::open`] and [`Dataset::check`] in one: the data set and its number of classes.
    ///
    /// # Errors
    /// The problem, or all of both as [`DataError::Many`].
    pub fn open_checked(dir: &Path, classes: Option<usize>) -> Result<(Dataset, usize), DataError> {
        let (dataset, mut problems) = Dataset::survey(dir)?;
        let examined = dataset.examine(classes);
        problems.extend(examined.problems);
        DataError::one_or_many(dir, problems)?;
        Ok((dataset, examined.classes))
    }

    /// The cases that have image and label, and what is wrong with the files beside them.
    ///
    /// # Errors
    /// [`DataError`] where there is no data set at all.
    pub fn survey(dir: &Path) -> Result<(Dataset, Vec<DataError>), DataError> {
        let folders = LAYOUTS
            .iter()
            .map(|(images, labels)| (dir.join(images), dir.join(labels)))
            .find(|(images, labels)| images.is_dir() && labels.is_dir());
        let mut problems = Vec::new();
        let (mut images, mut labels) = match folders {
            Some((images, labels)) => {
                let (mut images, labels) = (Folder::list(&images)?, Folder::list(&labels)?);
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
        let description = description(dir).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let class_names = description.as_ref().map(class_names).unwrap_or_default();
        Ok((Dataset { dir: dir.to_path_buf(), cases, class_names, warnings }, problems))
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
    /// intensities, labels whole and below `classes`.
    ///
    /// Returns the number of classes: `classes`, or if none is given the largest label + 1 (at
    /// least 2). All problems are reported at once, as [`DataError::Many`].
    pub fn check(&self, classes: Option<usize>) -> Result<usize, DataError> {
        let examined = self.examine(classes);
        if examined.problems.is_empty() {
            return Ok(examined.classes);
        }
        Err(DataError::Many { dir: self.dir.clone(), problems: examined.problems })
    }

    /// As [`Dataset::check`], with what was found beside the problems.
    pub fn examine(&self, classes: Option<usize>) -> Examined {
        let cases: Vec<_> = self.cases.par_iter().map(|case| examine_case(case, classes)).collect();
        let largest = cases.iter().map(|case| usize::from(case.label)).max().unwrap_or(0);
        Examined {
            classes: classes.unwrap_or((largest + 1).max(2)),
            most_voxels: cases.iter().map(|case| case.voxels).max().unwrap_or(0),
            problems: cases.into_iter().flat_map(|case| case.problems).collect(),
        }
    }
}

/// What [`Dataset::examine`] finds.
#[derive(Debug)]
pub struct Examined {
    /// Number of classes, background included.
    pub classes: usize,
    /// Voxels of the largest image.
    pub most_voxels: usize,
    /// In the order of the cases.
    pub problems: Vec<DataError>,
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
    let mut unpaired = |folder: &mut Folder, missing, names: Vec<String>, suffix| {
        if !names.is_empty() {
            let (dir, passed_over) = (folder.dir.clone(), folder.take_passed_over());
            problems.push(DataError::Unpaired { dir, missing, names, suffix, passed_over });
        }
    };
    unpaired(labels, "label", without_label, suffix);
    unpaired(images, "image", left.into_keys().collect(), None);
    cases
}

/// An image, and the label that it has but for the channel that nnU-Net writes after the name of an image (`_0000`).
fn channel_suffix(images: &[String], labels: &BTreeMap<String, PathBuf>) -> Option<Box<[String; 2]>> {
    images.iter().find_map(|image| {
        let (name, channel) = image.rsplit_once('_')?;
        let found = channel.len() == 4 && channel.bytes().all(|b| b.is_ascii_digit()) && labels.contains_key(name);
        found.then(|| Box::new([image.clone(), name.to_owned()]))
    })
}

/// Takes the labels `NAME_segmentation` out of the files of one folder, by `NAME`, and what is passed over: labels in another
/// format are missed more often than images.
fn take_labels(images: &mut Folder) -> Folder {
    let names: Vec<String> = images.volumes.keys().filter(|name| name.ends_with(LABEL_SUFFIX)).cloned().collect();
    let volumes = names
        .into_iter()
        .filter_map(|name| {
            let label = images.volumes.remove(&name)?;
            Some((name[..name.len() - LABEL_SUFFIX.len()].to_owned(), label))
        })
        .collect();
    Folder { dir: images.dir.clone(), volumes, warnings: std::mem::take(&mut images.warnings), problems: Vec::new() }
}

/// What is known of a case.
#[derive(Default)]
struct ExaminedCase {
    label: u16,
    voxels: usize,
    problems: Vec<DataError>,
}

fn examine_case(case: &Case, classes: Option<usize>) -> ExaminedCase {
    let mut found = ExaminedCase::default();
    let image = examine_header(&case.image);
    let label = examine_header(&case.label);
    if let (Ok((_, image)), Ok((_, label))) = (&image, &label)
        && let Some(difference) = label.difference(image)
    {
        let (label, image) = (case.label.clone(), case.image.clone());
        found.problems.push(DataError::GridMismatch { label, image, difference });
    }
    match label.and_then(|(header, _)| largest_label(&case.label, &header)) {
        Ok(value) => {
            let classes = classes.unwrap_or(MOST_CLASSES);
            if usize::from(value) >= classes {
                found.problems.push(DataError::LabelRange { path: case.label.clone(), value, classes });
            } else {
                found.label = value;
            }
        }
        Err(error) => found.problems.push(error),
    }
    match image.and_then(|(header, grid)| check_volume(&case.image, &header).map(|()| grid.voxel_count())) {
        Ok(voxels) => found.voxels = voxels,
        Err(error) => found.problems.push(error),
    }
    found
}

/// Header and grid of a volume of one real number per voxel that is not too large to be trained on.
fn examine_header(path: &Path) -> Result<(Header, Grid), DataError> {
    let header = read_header(path)?;
    let grid = header.grid(path)?;
    if !header.scalar.is_real() {
        return Err(DataError::VoxelType { path: path.to_path_buf(), dtype: header.scalar.name() });
    }
    check_extents(path, &grid, MOST_VOXELS)?;
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

/// The volumes of [`images_in`], by file name; that function tells what is passed over besides.
pub fn images_only(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(images_in(dir)?.volumes.into_values().collect())
}

/// All volumes of a folder by the case they stand for; [`Folder::list`] tells what is passed over besides.
pub fn volumes_of(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    Ok(Folder::with_volumes(dir)?.volumes)
}

/// The label of a case among the volumes of a folder: `NAME_segmentation` where there is one, for `NAME` is the image
/// then, else `NAME`.
pub fn label_of<'a>(volumes: &'a BTreeMap<String, PathBuf>, case: &str) -> Option<&'a PathBuf> {
    volumes.get(&format!("{case}{LABEL_SUFFIX}")).or_else(|| volumes.get(case))
}

/// Bytes of a `dataset.json`, at most: it may list every file.
const LONGEST_DESCRIPTION: u64 = 1 << 26;

/// What `dataset.json` says of a data set, in the form of the Decathlon or of nnU-Net; none where there is no such file.
pub(crate) fn description(dir: &Path) -> Result<Option<serde_json::Value>, DataError> {
    let path = dir.join("dataset.json");
    let text = match read_text(&path, LONGEST_DESCRIPTION) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::io(&path, "read")(error)),
    };
    let expected = "a JSON object whose \"labels\" map numbers to class names";
    serde_json::from_str(&text).map(Some).map_err(|source| DataError::Json { path, source, expected })
}

/// Class names of a `dataset.json`: `"labels": {"0": "background", …}` as in the Decathlon, or
/// `{"background": 0, …}` as in nnU-Net; entries of other forms (nnU-Net's regions, which are
/// lists) are no classes.
fn class_names(description: &serde_json::Value) -> Vec<String> {
    let mut names = BTreeMap::new();
    for (key, value) in description.get("labels").and_then(|labels| labels.as_object()).into_iter().flatten() {
        match (key.parse::<u16>(), value.as_str(), value.as_u64().and_then(|class| u16::try_from(class).ok())) {
            (Ok(class), Some(name), _) => names.insert(class, name.to_owned()),
            (_, None, Some(class)) => names.insert(class, key.clone()),
            _ => None,
        };
    }
    let count = names.keys().next_back().map_or(0, |&last| usize::from(last) + 1);
    (0..count)
        .map(|class| {
            let class = u16::try_from(class).expect("classes are numbered by u16");
            names.remove(&class).unwrap_or_else(|| format!("class {class}"))
        })
        .collect()
}
