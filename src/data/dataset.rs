//! Data sets as they lie in folders: which volumes belong together, and whether they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::description::{DESCRIPTION, channel_names, description, unheeded};
use super::examine::examine_case;
use super::folder::Folder;
use super::found::{Found, LABEL_SUFFIX, by_layout, by_manifest, by_patterns, declared_in, take_labels};
use super::image::counted;
use super::io::{SeriesChoice, case_of, is_series, name_of, output_name, output_name_of};
use super::layout::{Pattern, find_images, patterns};
use super::manifest::Manifest;
use super::parts::Parts;
use super::proof::{absent, prove};
use super::{Classes, Crop, DataError, ImageFiles, Split, Warning, Warnings};
use crate::files::folder_of;

/// An image and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// File name without the ending, as [`case_name`].
    pub name: String,
    /// The files of the image.
    pub image: ImageFiles,
    /// Its label map.
    pub label: PathBuf,
}

/// Cases of one folder or of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The folder; of a table the one in which it lies.
    pub dir: PathBuf,
    /// Cases, by name.
    pub cases: Vec<Case>,
    /// The classes that are declared, by the configuration, by `dataset.json` or by the label maps
    /// themselves; none where the labels prove them ([`Dataset::examine`]).
    pub classes: Option<Classes>,
    /// Names of the channels that `dataset.json` declares (`channel_names`, `modality`), in their order; may be empty.
    pub channel_names: Vec<String>,
    /// Patterns of the files of the channels, where they are files of their own: those of the configuration, or nnU-Net's
    /// `{case}_0000`.
    pub channel_files: Vec<String>,
    /// Whether channels on another grid are resampled onto the first one's.
    pub align: bool,
    /// What of a volume is looked at.
    pub crop: Crop,
    /// The file that says which cases train, where there is one.
    pub split_file: Option<PathBuf>,
    /// What the cases are for, where a table says so.
    pub parts: Option<Parts>,
    /// What else the folders hold, which is not read.
    pub warnings: Warnings,
}

/// What a user says of a data set besides its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetOptions {
    /// Classes that replace those of `dataset.json`.
    pub classes: Option<Classes>,
    /// Patterns of the files of the channels in the folder, such as `{case}/{case}_t1.nii.gz`; empty for a layout that is
    /// recognised.
    pub channel_files: Vec<String>,
    /// The pattern of the label map of a case, with `channel_files`.
    pub label_file: String,
    /// Whether channels on another grid are resampled onto the first one's.
    pub align: bool,
    /// What of a volume is looked at: foreground that is labelled elsewhere is a warning.
    pub crop: Crop,
    /// Which series is meant, where images are folders with DICOM files of several.
    pub series: SeriesChoice,
}

impl From<Option<&Classes>> for DatasetOptions {
    fn from(classes: Option<&Classes>) -> DatasetOptions {
        DatasetOptions { classes: classes.cloned(), ..DatasetOptions::default() }
    }
}

impl Dataset {
    /// Finds the cases of a data set: `images/` and `labels/` with equal file names (the endings may differ), or the Medical
    /// Segmentation Decathlon's `imagesTr/` and `labelsTr/`, with the classes of `dataset.json` where there is one, or, as
    /// PROMISE12 comes, volumes `NAME` and labels `NAME_segmentation` in one folder. Every image needs a label and the other
    /// way round. An image may be a folder with a DICOM series. In place of a folder there may be a table of cases
    /// ([`Manifest`]). Files are listed, not read: see [`Dataset::check`].
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open(dir: &Path) -> Result<Dataset, DataError> {
        Dataset::open_as(dir, DatasetOptions::default())
    }

    /// As [`Dataset::open`], with what the user says of the data set.
    ///
    /// # Errors
    /// The problem, or [`DataError::Many`].
    pub fn open_as(dir: &Path, options: impl Into<DatasetOptions>) -> Result<Dataset, DataError> {
        let (dataset, problems) = Dataset::survey(dir, options)?;
        DataError::one_or_many(dir, problems)?;
        Ok(dataset)
    }

    /// As [`Dataset::open_as`] and [`Dataset::examine`] in one: the data set and what was found in it, without problems.
    ///
    /// # Errors
    /// The problem, or all of both as [`DataError::Many`].
    pub fn open_checked(dir: &Path, options: impl Into<DatasetOptions>) -> Result<(Dataset, Examined), DataError> {
        let (mut dataset, mut problems) = Dataset::survey(dir, options)?;
        let mut examined = dataset.examine();
        problems.append(&mut examined.problems);
        DataError::one_or_many(dir, problems)?;
        dataset.classes = dataset.classes_as(&examined.classes).cloned();
        Ok((dataset, examined))
    }

    /// The cases that have image and label, and what is wrong with the other files.
    ///
    /// # Errors
    /// [`DataError`] where there is no data set at all.
    pub fn survey(dir: &Path, options: impl Into<DatasetOptions>) -> Result<(Dataset, Vec<DataError>), DataError> {
        let options = options.into();
        let mut problems = Vec::new();
        let (folder, mut found) = match Manifest::is_named(dir) {
            true => by_manifest(dir, &mut problems)?,
            false if dir.is_file() => {
                let problem = "is a file, expected a folder, or a table of cases whose name ends in .csv";
                return Err(DataError::unusable(dir, problem));
            }
            false => (dir.to_path_buf(), Found::default()),
        };
        let (described, is_readable) = match description(&folder) {
            Ok(described) => (described, true),
            Err(problem) => {
                problems.push(problem);
                (None, false)
            }
        };
        if !Manifest::is_named(dir) {
            found = match options.channel_files.is_empty() {
                true => by_layout(dir, described.as_ref(), &mut problems)?,
                false => by_patterns(dir, &options)?,
            };
        }
        let declared = match is_readable {
            true => declared_in(&folder, options.classes.as_ref(), &found.cases),
            false => Ok(None),
        };
        let classes = declared.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let channel_names = described.as_ref().map(channel_names).unwrap_or_default();
        if let Some(described) = &described {
            found.warnings.extend(&folder.join(DESCRIPTION), unheeded(described));
        }
        let Found { mut cases, channel_files, parts, mut warnings } = found;
        for case in &mut cases {
            case.image = case.image.clone().of_series(options.series.clone());
        }
        let (dir, align, crop) = (folder, options.align, options.crop);
        let split_file = if parts.is_none() { Split::file_of(&dir) } else { None };
        if let Some(outside) = split_file.as_ref().filter(|file| !is_inside(file, &dir)) {
            warnings.add(outside, Warning::new(OUTSIDE));
        }
        let dataset =
            Dataset { dir, cases, classes, channel_names, channel_files, align, crop, split_file, parts, warnings };
        Ok((dataset, problems))
    }

    /// The classes, where more must be known of them than their number: those that are declared, or `examined` ones
    /// ([`Examined::classes`]) of a data set in which some values are ignored.
    pub fn classes_as<'a>(&'a self, examined: &'a Classes) -> Option<&'a Classes> {
        self.classes.as_ref().map(|declared| if declared.are_unknown() { examined } else { declared })
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
        let cases: Vec<_> =
            self.cases.par_iter().map(|case| examine_case(case, declared, (self.align, self.crop))).collect();
        let mut warnings = self.warnings.clone();
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        let mut whole = !self.cases.is_empty();
        let mut most_voxels = 0;
        let mut channels = self.declared_channels();
        for (case, found) in self.cases.iter().zip(cases) {
            most_voxels = found.voxels.max(most_voxels);
            warnings.append(found.warnings);
            problems.extend(found.problems);
            whole &= found.values.is_some();
            for value in found.values.unwrap_or_default() {
                values.entry(value).or_insert(case.label.as_path());
            }
            if let Some(found) = found.channels {
                let (expected, by) = channels.get_or_insert_with(|| (found, case.image.first().display().to_string()));
                problems.extend((found != *expected).then(|| other_channels(case, found, *expected, by)));
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
        let channels = channels.map_or(1, |(channels, _)| channels);
        Examined { classes: proven, channels, most_voxels, problems, warnings }
    }

    /// The number of channels that is declared, and by what.
    fn declared_channels(&self) -> Option<(usize, String)> {
        let by = || self.dir.join(DESCRIPTION).display().to_string();
        (!self.channel_names.is_empty()).then(|| (self.channel_names.len(), by()))
    }
}

const OUTSIDE: &str = "the split is that of nnU-Net's preprocessed data";

fn is_inside(file: &Path, dir: &Path) -> bool {
    dir.canonicalize().is_ok_and(|dir| file.starts_with(dir))
}

/// The problem of a case whose image has another number of channels than the others.
fn other_channels(case: &Case, found: usize, expected: usize, by: &str) -> DataError {
    let problem = format!("{}, expected {} as {by} says", counted(found), counted(expected));
    DataError::unusable(case.image.first(), problem)
}

/// What [`Dataset::examine`] finds.
#[derive(Debug)]
pub struct Examined {
    /// The classes; two where a problem leaves them open.
    pub classes: Classes,
    /// Channels of each image; 1 where a problem leaves them open.
    pub channels: usize,
    /// Voxels of the largest image.
    pub most_voxels: usize,
    /// In the order of the cases.
    pub problems: Vec<DataError>,
    /// What a person should know of the files, in the order of the cases.
    pub warnings: Warnings,
}

/// The volumes of a folder to segment, by case: without labels `NAME_segmentation` that lie beside their volume `NAME`. Folders with
/// DICOM series are volumes too.
///
/// # Errors
/// As [`Folder::with_volumes`].
pub fn images_in(dir: &Path) -> Result<Folder, DataError> {
    let mut folder = Folder::with_volumes(dir)?;
    let of_image = |name: &String| name.strip_suffix(LABEL_SUFFIX).is_some_and(|i| folder.volumes.contains_key(i));
    let labels: Vec<String> = folder.volumes.keys().filter(|name| of_image(name)).cloned().collect();
    labels.iter().for_each(|label| drop(folder.volumes.remove(label)));
    Ok(folder)
}

/// The images to segment by case, of a folder or of one file of an image, for a model of so many channels whose data set had
/// the files `channel_files`. Other folders are those of [`images_in`], or hold nnU-Net's `NAME_0000`, one for each channel.
///
/// # Errors
/// [`DataError`] that names the folder: no volumes, or a channel of a case is missing.
pub fn images_to_segment(
    input: &Path,
    channel_files: &[String],
    channels: usize,
) -> Result<(BTreeMap<String, ImageFiles>, Warnings), DataError> {
    let parent = folder_of(input);
    let is_folder = input.is_dir() && !is_series(input);
    let mut patterns = patterns(channel_files).unwrap_or_default();
    // Patterns start above the folder of a file that they name.
    let above = patterns.iter().map(Pattern::depth).max().unwrap_or(0);
    let root = parent.ancestors().nth(above).filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut dir = if is_folder { input } else { root };
    if patterns.is_empty() && channels > 1 {
        patterns = (0..channels).map(Pattern::of_channel).collect();
    }
    let listed = |dir| if patterns.is_empty() { Ok(Default::default()) } else { find_images(dir, &patterns) };
    let (mut grouped, mut warnings) = match listed(dir) {
        // What lies around a single file need not be readable.
        Err(_) if !is_folder => Default::default(),
        listed => listed?,
    };
    if is_folder && grouped.cases.is_empty() && grouped.problems.is_empty() {
        // The folder of one case.
        let case = case_name(&name_of(input));
        (grouped, warnings) = listed(parent)?;
        grouped.cases.retain(|name, _| *name == case);
        grouped.problems.clear();
        dir = parent;
    }
    if !is_folder {
        let is_input = |file: &PathBuf| {
            name_of(file) == name_of(input)
                && file.canonicalize().is_ok_and(|file| input.canonicalize().is_ok_and(|input| file == input))
        };
        grouped.cases.retain(|_, files| files.files().iter().any(is_input));
        if grouped.cases.is_empty() {
            let case = case_name(case_of(&name_of(input)).unwrap_or(&name_of(input)));
            return Ok(([(case, ImageFiles::from(input))].into(), Warnings::default()));
        }
        return Ok((grouped.cases, Warnings::default()));
    }
    DataError::one_or_many(dir, grouped.problems)?;
    if grouped.cases.is_empty() {
        let images = images_in(input)?;
        return Ok((images.volumes.into_iter().map(|(case, file)| (case, file.into())).collect(), images.warnings));
    }
    Ok((grouped.cases, warnings))
}

/// The file name of what is made of an image of a case: the image's, but named after the case where channels have files of their
/// own (`case_0000.nii.gz` gives `case.nii.gz`).
pub fn output_of_image(case: &str, image: &ImageFiles) -> String {
    let name = output_name(image.first());
    match case_of(&name) {
        Some(stem) if case_name(stem) != case => output_name_of(case, image.first()),
        _ => name,
    }
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
