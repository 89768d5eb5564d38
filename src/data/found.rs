//! The cases of a data set, before their files are read: by the layout of its folder, by patterns, or from a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::dataset::{Case, DatasetOptions};
use super::description::{DESCRIPTION, channel_names, declared_classes};
use super::error::{also, some_of};
use super::folder::Folder;
use super::io::{MOST_CHANNELS, entries, name_of};
use super::layout::{Grouped, Pattern, channel_suffix, group, images_by, patterns, suffixed_channels};
use super::manifest::Manifest;
use super::parts::Parts;
use super::proof::named;
use super::{Classes, DataError, ImageFiles, Warning, Warnings};

/// What the label `NAME_segmentation` of an image `NAME` in the same folder is called, as in PROMISE12.
pub(super) const LABEL_SUFFIX: &str = "_segmentation";

/// The folders of images and labels in the layouts that are recognised, in this order.
const LAYOUTS: [[&str; 2]; 2] = [["images", "labels"], ["imagesTr", "labelsTr"]];
const SECOND: &str = "passed over, the folder holds two data sets and the other one is read";

/// Cases of a folder.
#[derive(Default)]
pub(super) struct Found {
    pub(super) cases: Vec<Case>,
    pub(super) channel_files: Vec<String>,
    pub(super) parts: Option<Parts>,
    pub(super) warnings: Warnings,
}

/// The cases of a folder in one of the layouts that are recognised.
pub(super) fn by_layout(
    dir: &Path,
    described: Option<&Value>,
    problems: &mut Vec<DataError>,
) -> Result<Found, DataError> {
    let layouts = LAYOUTS.map(|names| names.map(|name| dir.join(name)));
    let mut layouts = layouts.iter().filter(|folders| folders.iter().all(|folder| folder.is_dir()));
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
                return Err(nnunet_parent(dir).unwrap_or(DataError::NoDataset { dir: dir.to_path_buf(), passed_over }));
            }
            (images, labels)
        }
    };
    let declared = described.map_or(0, |described| channel_names(described).len());
    let mut found = pair(&mut images, &mut labels, declared, problems);
    found.warnings.append(images.warnings);
    found.warnings.append(labels.warnings);
    for [second, _] in layouts {
        found.warnings.add(second, Warning::with(SECOND, images.dir.display().to_string()));
    }
    Ok(found)
}

/// The cases of a table, and its folder.
pub(super) fn by_manifest(path: &Path, problems: &mut Vec<DataError>) -> Result<(PathBuf, Found), DataError> {
    let manifest = Manifest::read(path)?;
    let (folder, parts) = (manifest.folder().to_path_buf(), manifest.parts());
    let (cases, problem) = manifest.cases();
    problems.extend(problem);
    Ok((folder, Found { cases, parts, ..Found::default() }))
}

/// The error of a folder that holds data sets of nnU-Net (`nnUNet_raw`).
fn nnunet_parent(dir: &Path) -> Option<DataError> {
    let names = entries(dir).ok()?.into_iter().filter(|path| path.join("imagesTr").is_dir());
    let names: Vec<String> = names.map(|path| name_of(&path)).collect();
    let (first, some) = (names.first()?, some_of(&names));
    let problem =
        format!("holds several data sets ({some}), expected one of them, such as {}", dir.join(first).display());
    Some(DataError::unusable(dir, problem))
}

/// The cases of a folder whose files the user's patterns name.
pub(super) fn by_patterns(dir: &Path, options: &DatasetOptions) -> Result<Found, DataError> {
    let texts = [&options.channel_files[..], std::slice::from_ref(&options.label_file)].concat();
    let Some(patterns) = patterns(&texts) else {
        let found = format!("{:?} with data.label_file {:?}", options.channel_files, options.label_file);
        let expected = "patterns of file names with {case}, and one for the label map";
        return Err(DataError::Setting { key: "data.channel_files", found, expected });
    };
    let (grouped, warnings) = images_by(dir, &patterns)?;
    let cases = grouped.into_iter().map(|(name, files)| {
        let (label, channels) = files.files().split_last().expect("a pattern for the label");
        Case { name, image: ImageFiles::of_channels(channels.to_vec()), label: label.clone() }
    });
    Ok(Found { cases: cases.collect(), channel_files: options.channel_files.clone(), parts: None, warnings })
}

/// Cases of images and labels of equal names; the others are problems, with what is passed over where they are missing.
///
/// An image `NAME_0000` without a label of this name, but with a label `NAME`, is a channel, as nnU-Net names them. All such images
/// are grouped then, `declared` channels to a case, where `dataset.json` says how many.
fn pair(images: &mut Folder, labels: &mut Folder, declared: usize, problems: &mut Vec<DataError>) -> Found {
    problems.append(&mut images.problems);
    problems.append(&mut labels.problems);
    let mut found = Found::default();
    let mut without_label = Vec::new();
    let mut left = std::mem::take(&mut labels.volumes);
    let mut volumes = BTreeMap::new();
    for (name, image) in std::mem::take(&mut images.volumes) {
        match left.remove(&name) {
            Some(label) => found.cases.push(Case { name, image: image.into(), label }),
            None => {
                volumes.insert(name, image);
            }
        }
    }
    if volumes.keys().any(|name| channel_suffix(name).is_some_and(|(case, _)| left.contains_key(case))) {
        let channels = suffixed_channels(volumes.keys()).max(declared).min(MOST_CHANNELS + 1);
        let patterns: Vec<Pattern> = (0..channels).map(Pattern::of_channel).collect();
        let Grouped { cases, incomplete, problems: missing, .. } = group(&images.dir, &mut volumes, &patterns);
        problems.extend(missing);
        left.retain(|name, _| !incomplete.contains(name));
        found.channel_files = patterns.iter().map(|pattern| pattern.text().to_owned()).collect();
        for (name, image) in cases {
            match left.remove(&name) {
                Some(label) => found.cases.push(Case { name, image, label }),
                None => without_label.push(name),
            }
        }
        found.cases.sort_by(|a, b| a.name.cmp(&b.name));
    }
    without_label.extend(volumes.into_keys());
    let mut unpaired = |folder: &mut Folder, missing: &str, names: Vec<String>| {
        if !names.is_empty() {
            let problem = format!("no {missing} for {}{}", some_of(&names), also(&folder.take_passed_over()));
            problems.push(DataError::unusable(&folder.dir, problem));
        }
    };
    unpaired(labels, "label", without_label);
    unpaired(images, "image", left.into_keys().collect());
    found
}

/// Takes the labels `NAME_segmentation` out of the files of one folder, by `NAME`. What is passed over goes with them, because
/// a missing label is more often the reason than a missing image.
pub(super) fn take_labels(images: &mut Folder) -> Folder {
    let is_label = |(name, _): &(String, PathBuf)| name.ends_with(LABEL_SUFFIX);
    let (labels, volumes): (BTreeMap<_, _>, _) = std::mem::take(&mut images.volumes).into_iter().partition(is_label);
    images.volumes = volumes;
    let of_image = |(name, path): (String, PathBuf)| (name[..name.len() - LABEL_SUFFIX.len()].to_owned(), path);
    let volumes = labels.into_iter().map(of_image).collect();
    Folder { dir: images.dir.clone(), volumes, warnings: std::mem::take(&mut images.warnings), problems: Vec::new() }
}

/// The classes that are given, else those of `dataset.json`, else those that the label maps name, without the values that are given as ignored.
pub(super) fn declared_in(dir: &Path, given: Option<&Classes>, cases: &[Case]) -> Result<Option<Classes>, DataError> {
    let Some(given) = given.filter(|given| !given.are_unknown()) else {
        let ignored = given.map(Classes::ignored).unwrap_or_default();
        let declared = declared_classes(dir)?.or_else(|| named(cases)).unwrap_or_else(Classes::unknown);
        let wrong = |problem| DataError::unusable(&dir.join(DESCRIPTION), format!("data.ignore: {problem}"));
        let declared = declared.ignoring(ignored).map_err(wrong)?;
        return Ok(Some(declared).filter(|classes| !classes.are_unknown() || !classes.ignored().is_empty()));
    };
    Ok(Some(given.clone()))
}
