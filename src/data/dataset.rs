//! Data sets as they lie in folders: which volumes belong together, and whether they do.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::io::input::read_text;
use super::io::{Header, case_of, check_volume, is_series, largest_label, read_header};
use super::prepare::{MOST_VOXELS, check_extents};
use super::{DataError, Grid};

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
        one_or_many(dir, problems)?;
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
        one_or_many(dir, problems)?;
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
        let cases = match folders {
            Some((images, labels)) => {
                let image_files = list(&images, &mut problems)?;
                let label_files = list(&labels, &mut problems)?;
                if image_files.is_empty() {
                    return Err(DataError::NoVolumes { dir: images });
                }
                pair(image_files, label_files, &images, &labels, &mut problems)
            }
            None => {
                let mut images = list(dir, &mut problems)?;
                let labels = take_labels(&mut images);
                if labels.is_empty() {
                    return Err(DataError::NoDataset { dir: dir.to_path_buf() });
                }
                pair(images, labels, dir, dir, &mut problems)
            }
        };
        let description = description(dir).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let class_names = description.as_ref().map(class_names).unwrap_or_default();
        Ok((Dataset { dir: dir.to_path_buf(), cases, class_names }, problems))
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

fn one_or_many(dir: &Path, mut problems: Vec<DataError>) -> Result<(), DataError> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => Err(DataError::Many { dir: dir.to_path_buf(), problems }),
    }
}

/// Cases of images and labels of equal names; the others are problems.
fn pair(
    images: BTreeMap<String, PathBuf>,
    mut labels: BTreeMap<String, PathBuf>,
    image_dir: &Path,
    label_dir: &Path,
    problems: &mut Vec<DataError>,
) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut without_label = Vec::new();
    for (name, image) in images {
        match labels.remove(&name) {
            Some(label) => cases.push(Case { name, image, label }),
            None => without_label.push(name),
        }
    }
    let mut unpaired = |dir: &Path, missing, names: Vec<String>| {
        if !names.is_empty() {
            problems.push(DataError::Unpaired { dir: dir.to_path_buf(), missing, names });
        }
    };
    unpaired(label_dir, "label", without_label);
    unpaired(image_dir, "image", labels.into_keys().collect());
    cases
}

/// Takes the labels `NAME_segmentation` out of the files of one folder, by `NAME`.
fn take_labels(files: &mut BTreeMap<String, PathBuf>) -> BTreeMap<String, PathBuf> {
    let names: Vec<String> = files.keys().filter(|name| name.ends_with(LABEL_SUFFIX)).cloned().collect();
    names
        .into_iter()
        .filter_map(|name| {
            let label = files.remove(&name)?;
            Some((name[..name.len() - LABEL_SUFFIX.len()].to_owned(), label))
        })
        .collect()
}

/// What is known of a case.
#[derive(Default)]
pub(super) struct ExaminedCase {
    label: u16,
    voxels: usize,
    pub(super) problems: Vec<DataError>,
}

pub(super) fn examine_case(case: &Case, classes: Option<usize>) -> ExaminedCase {
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

/// The volumes of a folder to segment, by file name: without labels `NAME_segmentation` that lie beside their volume
/// `NAME`. Folders with DICOM series are volumes too.
pub fn images_only(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = volumes_of(dir)?;
    let names: Vec<String> = files.keys().cloned().collect();
    files.retain(|name, _| !name.strip_suffix(LABEL_SUFFIX).is_some_and(|image| names.iter().any(|n| n == image)));
    Ok(files.into_values().collect())
}

/// All volumes of a folder by the case they stand for.
pub fn volumes_of(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut problems = Vec::new();
    let files = list(dir, &mut problems)?;
    one_or_many(dir, problems)?;
    if files.is_empty() {
        return Err(DataError::NoVolumes { dir: dir.to_path_buf() });
    }
    Ok(files)
}

/// The label of a case among the volumes of a folder: `NAME_segmentation` where there is one, for `NAME` is the image
/// then, else `NAME`.
pub fn label_of<'a>(volumes: &'a BTreeMap<String, PathBuf>, case: &str) -> Option<&'a PathBuf> {
    volumes.get(&format!("{case}{LABEL_SUFFIX}")).or_else(|| volumes.get(case))
}

/// Volume files of a folder, and folders with DICOM series, by the case they stand for; all else and what is hidden
/// is passed over. Of several files of one case the first counts.
fn list(dir: &Path, problems: &mut Vec<DataError>) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(DataError::io(dir, "list"))? {
        paths.push(entry.map_err(DataError::io(dir, "list"))?.path());
    }
    // The folder is listed in no order, messages are not to depend on it.
    paths.sort();
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let case = match case_of(&file_name) {
            Some(case) if !path.is_dir() => case.to_owned(),
            None if !file_name.starts_with('.') && is_series(&path) => file_name.clone(),
            _ => continue,
        };
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            problems.push(DataError::FileName { path });
            continue;
        }
        match files.entry(case) {
            Entry::Vacant(free) => {
                free.insert(path);
            }
            Entry::Occupied(taken) => {
                let first = taken.get().file_name().unwrap_or_default().to_string_lossy().into_owned();
                let (dir, case) = (dir.to_path_buf(), taken.key().clone());
                problems.push(DataError::DuplicateCase { dir, case, first, second: file_name });
            }
        }
    }
    Ok(files)
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
