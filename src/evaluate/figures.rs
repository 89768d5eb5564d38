//! The choice of cases to draw, and their overlays: images with the outlines of reference and predictions.

use super::pairs::{Declared, images_in, predictions_in, references_in};
use super::{CaseFiles, EvaluateError, Scoring, upright};
use crate::data::folder::Folder;
use crate::data::io::read_header;
use crate::data::{Classes, Grid, IGNORED, ImageFiles, Placed, read_channels_on, read_label_map_on};
use crate::metrics::{Evaluation, Region};
use crate::report::{ComparisonCase, OverlayCase, ViewerCase, write_comparison_overlay, write_overlay};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the volumes of some cases lie, by case.
#[derive(Debug)]
pub struct Folders<'a> {
    /// Predicted label maps; two sets for a comparison.
    pub predictions: &'a [&'a Path],
    /// Names of the two sets; not used for one set.
    pub names: [&'a str; 2],
    /// Reference label maps.
    pub labels: &'a Path,
    /// Images.
    pub images: &'a Path,
    /// The classes, where their values were given; see [`super::Scoring::classes`].
    pub classes: Option<&'a Classes>,
    /// Values that are not scored; see [`super::Scoring::ignore`].
    pub ignore: &'a [u16],
}

/// A case that is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Why: `best`, `median`, `worst`, or, of a comparison, `first_better`, `median`, `second_better`.
    pub role: &'static str,
    /// Name of the case.
    pub case: String,
    /// Mean Dice over the classes, or the first set's minus the second's.
    pub value: f64,
}

/// Mean Dice over the classes of every case in which one is defined, whole organ, in the order of the records.
pub fn case_dice(evaluation: &Evaluation) -> Vec<(String, f64)> {
    let mut sums: Vec<(String, f64, f64)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for scores in evaluation.cases.iter().filter(|s| s.region == Region::Whole) {
        let Some(dice) = scores.dice else { continue };
        let at = *known.entry(&scores.case).or_insert(sums.len());
        match sums.get_mut(at) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + dice, *count + 1.0),
            None => sums.push((scores.case.clone(), dice, 1.0)),
        }
    }
    sums.into_iter().map(|(case, sum, count)| (case, sum / count)).collect()
}

/// The highest, the median (of an even number the lower of the middle two) and the lowest value, each case once.
pub fn choose(mut values: Vec<(String, f64)>, roles: [&'static str; 3]) -> Vec<Chosen> {
    values.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(last) = values.len().checked_sub(1) else { return Vec::new() };
    let mut chosen: Vec<Chosen> = Vec::new();
    for (role, position) in roles.into_iter().zip([0, values.len() / 2, last]) {
        let (case, value) = values[position].clone();
        if chosen.iter().all(|known| known.case != case) {
            chosen.push(Chosen { role, case, value });
        }
    }
    chosen
}

/// Draws chosen cases to `out/ROLE_CASE.png`, with the outlines of classes (value and name); titles state `value`.
///
/// # Errors
/// [`EvaluateError`] that names the file.
pub fn draw_cases(
    folders: &Folders<'_>,
    classes: &[(u16, String)],
    chosen: &[Chosen],
    out: &Path,
) -> Result<Vec<PathBuf>, EvaluateError> {
    let images = images_in(folders.images)?;
    let references = references_in(folders.labels)?;
    let predicted = folders.predictions.iter().map(|folder| predictions_in(folder)).collect::<Result<Vec<_>, _>>()?;
    let scoring = Scoring { classes: folders.classes, ignore: folders.ignore, ..Scoring::WHOLE };
    let outlines = Outlines { classes, declared: &Declared::of(folders.labels, &scoring)? };
    let mut written = Vec::new();
    for Chosen { role, case, value } in chosen {
        let missing = |folder: &Path, what| {
            let (folder, cases, passed_over) = (folder.to_owned(), vec![case.clone()], Vec::new());
            EvaluateError::Missing { folder, what, cases, for_what: "", passed_over }
        };
        let image = images.get(case).ok_or_else(|| missing(folders.images, "image"))?;
        let label = references.volumes.get(case).ok_or_else(|| missing(folders.labels, "label"))?;
        let map_of =
            |folder: &Folder| folder.volumes.get(case).cloned().ok_or_else(|| missing(&folder.dir, "prediction"));
        let maps = predicted.iter().map(map_of).collect::<Result<Vec<_>, _>>()?;
        let loaded = Loaded::read(image, label, &maps, &outlines)?;
        let [one, other] = folders.names;
        let title = match maps.len() {
            1 => format!("{case} ({role}, Dice {value:.3})"),
            _ => format!("{case}: {one} minus {other}, Dice {value:+.3}"),
        };
        let first = loaded.case(&title);
        let path = out.join(format!("{role}_{case}.png"));
        match loaded.maps.get(1) {
            Some(second) => {
                write_comparison_overlay(&path, &ComparisonCase { case: first, second, names: folders.names })?;
            }
            None => write_overlay(&path, &first)?,
        }
        written.push(path);
    }
    Ok(written)
}

/// Classes or regions that are outlined, by value and name in the order of their colours, and the meaning of values.
struct Outlines<'a> {
    classes: &'a [(u16, String)],
    declared: &'a Declared<'a>,
}

impl Outlines<'_> {
    /// The classes of each region that is drawn; none where classes are drawn.
    fn members(&self) -> Vec<Vec<u16>> {
        let regions = self.declared.regions();
        let of = |value: u16| regions.iter().find(|region| region.value == value).map(|region| region.classes.clone());
        self.classes.iter().filter_map(|(value, _)| of(*value)).collect()
    }

    /// Replaces values by the numbers, from 1, of the classes that are drawn, or of those below regions; all else is 0, but
    /// [`IGNORED`] what takes no part.
    fn number(&self, voxels: &mut [u16]) {
        let merged = self.declared.scoring.classes;
        let below = self.declared.classes().filter(|classes| !classes.regions().is_empty());
        let written = merged.map(Classes::written).unwrap_or_default();
        let mut table = vec![0; usize::from(u16::MAX) + 1];
        for (value, number) in (0..=u16::MAX).zip(&mut table) {
            if self.declared.is_ignored(value) {
                *number = IGNORED;
                continue;
            }
            if let Some(classes) = below {
                *number = classes.class_of(value).unwrap_or(0);
                continue;
            }
            let class = merged.map(|classes| classes.class_of(value).map(|class| written[usize::from(class)]));
            let value = class.unwrap_or(Some(value));
            let drawn = (1..).zip(self.classes).find(|(_, (of, _))| value == Some(*of));
            *number = drawn.map_or(0, |(number, _)| number);
        }
        voxels.iter_mut().for_each(|voxel| *voxel = table[usize::from(*voxel)]);
    }
}

/// The volumes of a case, in the orientation nearest to RAS.
struct Loaded {
    image: Vec<f32>,
    /// The channels after the first.
    further: Vec<Vec<f32>>,
    /// Numbers of the classes that are drawn, from 1.
    reference: Vec<u16>,
    maps: Vec<Vec<u16>>,
    grid: Grid,
    class_names: Vec<String>,
    members: Vec<Vec<u16>>,
}

impl Loaded {
    fn read(
        image: &ImageFiles,
        label: &Path,
        maps: &[PathBuf],
        outlines: &Outlines<'_>,
    ) -> Result<Self, EvaluateError> {
        let on = Placed { path: label, header: &read_header(label)? };
        let mut channels = read_channels_on(image, on)?.into_iter().map(|volume| upright(&volume.grid, volume.voxels));
        let (grid, image) = channels.next().expect("an image has a channel");
        let further = channels.map(|(_, voxels)| voxels).collect();
        let numbered = |path: &Path| -> Result<Vec<u16>, EvaluateError> {
            let mut map = read_label_map_on(path, on)?;
            outlines.number(&mut map.voxels);
            Ok(upright(&map.grid, map.voxels).1)
        };
        let reference = numbered(label)?;
        let maps = maps.iter().map(|map| numbered(map)).collect::<Result<Vec<_>, _>>()?;
        let class_names = outlines.classes.iter().map(|(_, name)| name.clone()).collect();
        Ok(Self { image, further, reference, maps, grid, class_names, members: outlines.members() })
    }

    /// The case with its first prediction.
    fn case<'a>(&'a self, title: &'a str) -> OverlayCase<'a> {
        OverlayCase {
            title,
            image: &self.image,
            reference: Some(&self.reference),
            prediction: &self.maps[0],
            extents: self.grid.extents,
            spacing: self.grid.spacing,
            class_names: &self.class_names,
            members: &self.members,
        }
    }
}

/// The worst, the median and the best case of an evaluation for the report's viewer, with all classes that were scored
/// (`merged` as in [`Folders::classes`]) and all channels, by these names. Each is also drawn to `out/ROLE_CASE.png` for browsers without scripts. Cases
/// without an image are left out.
///
/// # Errors
/// [`EvaluateError`] that names the file.
pub fn viewer_cases(
    evaluation: &Evaluation,
    files: &[CaseFiles],
    merged: Option<&Classes>,
    channel_names: &[String],
    out: &Path,
) -> Result<Vec<ViewerCase>, EvaluateError> {
    let mut chosen = choose(case_dice(evaluation), ["best", "median", "worst"]);
    chosen.reverse();
    let classes = evaluation.classes();
    let scoring = Scoring { classes: merged, ..Scoring::WHOLE };
    let outlines = Outlines { classes: &classes, declared: &Declared::by(&scoring) };
    let mut cases = Vec::new();
    for Chosen { role, case, value } in chosen {
        let Some(files) = files.iter().find(|files| files.case == case) else { continue };
        let Some(image) = &files.image else { continue };
        let loaded = Loaded::read(image, &files.label, std::slice::from_ref(&files.prediction), &outlines)?;
        let heading = format!("{}{}: {case}, Dice {value:.3}", role[..1].to_uppercase(), &role[1..]);
        let picture = out.join(format!("{role}_{case}.png"));
        write_overlay(&picture, &loaded.case(&heading))?;
        let channels = (&loaded.further[..], channel_names);
        cases.push(ViewerCase::of_channels(&heading, &loaded.case(&case), channels, Some(picture))?);
    }
    Ok(cases)
}
