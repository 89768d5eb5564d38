//! Data sets as they lie in folders: which volumes belong together, and whether they do.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::io::{Header, case_of, check_volume, is_series, label_values, read_header};
use super::prepare::{MOST_VOXELS, check_extents};
use super::proof::prove;
use super::volume::position_of;
use super::{Classes, DataError, Grid, declared_classes};

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
    /// The classes that are declared, by the configuration or by `dataset.json`; none where the labels prove them
    /// ([`Dataset::examine`]).
    pub classes: Option<Classes>,
}

/// What the label `NAME_segmentation` of an image `NAME` in the same folder is called, as in PROMISE12.
const LABEL_SUFFIX: &str = "_segmentation";

/// The folders of images and labels in the layouts that are recognised, in this order.
const LAYOUTS: [(&str, &str); 2] = [("images", "labels"), ("imagesTr", "labelsTr")];

impl Dataset {
    /// Finds the cases of a data set: `images/` and `labels/` with equal file names (the endings
    /// may differ), or the Medical Segmentation Decathlon's `imagesTr/` and `labelsTr/`, with the
    /// classes of `dataset.json` where there is one, or, as PROMISE12 comes, volumes `NAME` and
    /// labels `NAME_segmentation` in one folder. Every image needs a label and the other way round.
    /// An image may be a folder with a DICOM series. Files are listed, not read: see
    /// [`Dataset::check`].
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open(dir: &Path) -> Result<Dataset, DataError> {
        Dataset::open_as(dir, None)
    }

    /// As [`Dataset::open`], with classes that stand for those of `dataset.json`.
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open_as(dir: &Path, classes: Option<&Classes>) -> Result<Dataset, DataError> {
        let (dataset, problems) = Dataset::survey(dir, classes)?;
        one_or_many(dir, problems)?;
        Ok(dataset)
    }

    /// As [`Dataset::open_as`] and [`Dataset::check`] in one: the data set and its classes.
    ///
    /// # Errors
    /// The problem, or all of both as [`DataError::Many`].
    pub fn open_checked(dir: &Path, classes: Option<&Classes>) -> Result<(Dataset, Classes), DataError> {
        let (dataset, mut problems) = Dataset::survey(dir, classes)?;
        let examined = dataset.examine();
        problems.extend(examined.problems);
        one_or_many(dir, problems)?;
        Ok((dataset, examined.classes))
    }

    /// The cases that have image and label, and what is wrong with the files beside them. `classes` stand for those of
    /// `dataset.json`, if there are any.
    ///
    /// # Errors
    /// [`DataError`] where there is no data set at all.
    pub fn survey(dir: &Path, classes: Option<&Classes>) -> Result<(Dataset, Vec<DataError>), DataError> {
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
        let declared = match classes {
            Some(classes) => Ok(Some(classes.clone())),
            None => declared_classes(dir),
        };
        let classes = declared.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        Ok((Dataset { dir: dir.to_path_buf(), cases, classes }, problems))
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
        let examined = self.examine();
        if examined.problems.is_empty() {
            return Ok(examined.classes);
        }
        Err(DataError::Many { dir: self.dir.clone(), problems: examined.problems })
    }

    /// As [`Dataset::check`], with what was found beside the problems.
    pub fn examine(&self) -> Examined {
        let declared = self.classes.as_ref();
        let cases: Vec<_> = self.cases.par_iter().map(|case| examine_case(case, declared)).collect();
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        let mut whole = true;
        let mut most_voxels = 0;
        for (case, found) in self.cases.iter().zip(cases) {
            most_voxels = found.voxels.max(most_voxels);
            problems.extend(found.problems);
            whole &= found.values.is_some();
            for value in found.values.unwrap_or_default() {
                values.entry(value).or_insert(case.label.as_path());
            }
        }
        let proven = prove(&self.dir, declared, &values).unwrap_or_else(|problem| {
            // Values that a broken label map may have are not known to be missing.
            problems.extend(whole.then_some(problem));
            Classes::numbered(2)
        });
        Examined { classes: proven, most_voxels, problems }
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
struct ExaminedCase {
    /// The label values that occur; none where the label map cannot be read.
    values: Option<Vec<u16>>,
    voxels: usize,
    problems: Vec<DataError>,
}

fn examine_case(case: &Case, declared: Option<&Classes>) -> ExaminedCase {
    let mut found = ExaminedCase::default();
    let image = examine_header(&case.image);
    let label = examine_header(&case.label);
    if let (Ok((_, image)), Ok((_, label))) = (&image, &label)
        && let Some(difference) = label.difference(image)
    {
        let (label, image) = (case.label.clone(), case.image.clone());
        found.problems.push(DataError::GridMismatch { label, image, difference });
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
                found.problems.push(DataError::BlankImage { path: case.image.clone(), value: low });
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

/// The label maps of a folder by the case they stand for: `NAME_segmentation` is the label of `NAME`. Where such labels lie
/// beside their images, as PROMISE12 comes, volumes of other names are images.
///
/// # Errors
/// [`DataError`] when the folder cannot be listed or has no volumes.
pub fn label_maps_of(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut plain = volumes_of(dir)?;
    let suffixed = take_labels(&mut plain);
    let beside_images = suffixed.keys().any(|case| plain.contains_key(case));
    if beside_images {
        return Ok(suffixed);
    }
    plain.extend(suffixed);
    Ok(plain)
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
