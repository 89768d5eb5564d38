//! Data sets as they lie in folders: which volumes belong together, and whether they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::DataError;
use super::io::{case_of, is_series, read_header, read_label_map};

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
    pub fn open(dir: &Path) -> Result<Dataset, DataError> {
        let folders = LAYOUTS
            .iter()
            .map(|(images, labels)| (dir.join(images), dir.join(labels)))
            .find(|(images, labels)| images.is_dir() && labels.is_dir());
        let cases = match folders {
            Some((images, labels)) => {
                let (image_files, label_files) = (list(&images)?, list(&labels)?);
                if image_files.is_empty() {
                    return Err(DataError::NoVolumes { dir: images });
                }
                pair(image_files, label_files, &images, &labels)?
            }
            None => {
                let mut images = list(dir)?;
                let labels = take_labels(&mut images);
                if labels.is_empty() {
                    return Err(DataError::NoDataset { dir: dir.to_path_buf() });
                }
                pair(images, labels, dir, dir)?
            }
        };
        let class_names = read_class_names(&dir.join("dataset.json"))?;
        Ok(Dataset { dir: dir.to_path_buf(), cases, class_names })
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

    /// Reads all headers and all labels: three axes, image and label on one grid, labels whole and
    /// below `classes`.
    ///
    /// Returns the number of classes: `classes`, or if none is given the largest label + 1 (at
    /// least 2). All problems are reported at once, as [`DataError::Many`].
    pub fn check(&self, classes: Option<usize>) -> Result<usize, DataError> {
        let results: Vec<_> = self.cases.par_iter().map(|case| check_case(case, classes)).collect();
        let mut largest = 0;
        let mut problems = Vec::new();
        for result in results {
            match result {
                Ok(label) => largest = largest.max(usize::from(label)),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(DataError::Many { dir: self.dir.clone(), problems });
        }
        Ok(classes.unwrap_or((largest + 1).max(2)))
    }
}

/// Cases of images and labels of equal names.
fn pair(
    images: BTreeMap<String, PathBuf>,
    mut labels: BTreeMap<String, PathBuf>,
    image_dir: &Path,
    label_dir: &Path,
) -> Result<Vec<Case>, DataError> {
    let mut cases = Vec::new();
    let mut without_label = Vec::new();
    for (name, image) in images {
        match labels.remove(&name) {
            Some(label) => cases.push(Case { name, image, label }),
            None => without_label.push(name),
        }
    }
    let unpaired = |dir: &Path, missing, names: Vec<String>| match names.is_empty() {
        true => Ok(()),
        false => Err(DataError::Unpaired { dir: dir.to_path_buf(), missing, names }),
    };
    unpaired(label_dir, "label", without_label)?;
    unpaired(image_dir, "image", labels.into_keys().collect())?;
    Ok(cases)
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

/// The largest label of a case, or everything that is wrong with it.
fn check_case(case: &Case, classes: Option<usize>) -> Result<u16, Vec<DataError>> {
    let mut problems = Vec::new();
    let image = read_header(&case.image).and_then(|header| {
        let grid = header.grid(&case.image)?;
        match header.scalar.is_real() {
            true => Ok(grid),
            false => Err(DataError::VoxelType { path: case.image.clone(), dtype: header.scalar.name() }),
        }
    });
    let label = read_label_map(&case.label);
    if let (Ok(image), Ok(label)) = (&image, &label)
        && let Some(difference) = label.grid.difference(image)
    {
        let (label, image) = (case.label.clone(), case.image.clone());
        problems.push(DataError::GridMismatch { label, image, difference });
    }
    let mut largest = 0;
    match label {
        Ok(label) => {
            largest = label.voxels.iter().copied().max().unwrap_or(0);
            if let Some(classes) = classes.filter(|&classes| usize::from(largest) >= classes) {
                problems.push(DataError::LabelRange { path: case.label.clone(), value: largest, classes });
            }
        }
        Err(error) => problems.push(error),
    }
    problems.extend(image.err());
    if problems.is_empty() { Ok(largest) } else { Err(problems) }
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
    let files = list(dir)?;
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
/// is passed over.
fn list(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(DataError::io(dir, "list"))? {
        let path = entry.map_err(DataError::io(dir, "list"))?.path();
        let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let case = match case_of(file_name) {
            Some(case) if !path.is_dir() => case.to_owned(),
            None if !file_name.starts_with('.') && is_series(&path) => file_name.to_owned(),
            _ => continue,
        };
        if let Some(other) = files.get(&case) {
            let other = other.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // The folder is listed in no order, the message is not to depend on it.
            let (first, second) =
                if *other < *file_name { (other, file_name.into()) } else { (file_name.into(), other) };
            return Err(DataError::DuplicateCase { dir: dir.to_path_buf(), case, first, second });
        }
        files.insert(case, path);
    }
    Ok(files)
}

/// Class names of a `dataset.json`: `"labels": {"0": "background", …}` as in the Decathlon, or
/// `{"background": 0, …}` as in nnU-Net; entries of other forms (nnU-Net's regions, which are
/// lists) are no classes.
fn read_class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DataError::io(path, "read")(error)),
    };
    let expected = "a JSON object whose \"labels\" map numbers to class names";
    let description: serde_json::Value =
        serde_json::from_str(&text).map_err(|source| DataError::Json { path: path.to_path_buf(), source, expected })?;
    let mut names = BTreeMap::new();
    for (key, value) in description.get("labels").and_then(|labels| labels.as_object()).into_iter().flatten() {
        match (key.parse::<u16>(), value.as_str(), value.as_u64().and_then(|class| u16::try_from(class).ok())) {
            (Ok(class), Some(name), _) => names.insert(class, name.to_owned()),
            (_, None, Some(class)) => names.insert(class, key.clone()),
            _ => None,
        };
    }
    let count = names.keys().next_back().map_or(0, |&last| usize::from(last) + 1);
    Ok((0..count)
        .map(|class| {
            let class = u16::try_from(class).expect("classes are numbered by u16");
            names.remove(&class).unwrap_or_else(|| format!("class {class}"))
        })
        .collect())
}
