//! A case of a data set, looked at: its headers, and the values of its voxels.

use std::path::Path;

use super::alignment::{Placed, read_label_map_on, reordering};
use super::dataset::Case;
use super::image::Image;
use super::io::{Header, label_values, read_header};
use super::prepare::{MOST_VOXELS, check_extents};
use super::volume::position_of;
use super::{Classes, Crop, DataError, Grid, ImageFiles, Warning, Warnings};

/// What is known of a case.
#[derive(Default)]
pub(super) struct ExaminedCase {
    /// The label values that occur; none where the label map cannot be read.
    pub(super) values: Option<Vec<u16>>,
    /// Channels of the image; none where its headers cannot be read.
    pub(super) channels: Option<usize>,
    pub(super) voxels: usize,
    pub(super) problems: Vec<DataError>,
    pub(super) warnings: Warnings,
}

/// Looks at a case; `align` and `crop` are those of the data set.
pub(super) fn examine_case(case: &Case, declared: Option<&Classes>, (align, crop): (bool, Crop)) -> ExaminedCase {
    let mut found = ExaminedCase::default();
    let image = examine_image(&case.image, align);
    let label = examine_header(&case.label);
    for (path, header) in image.iter().flat_map(Image::headers) {
        found.warnings.extend(path, header.warnings.iter().cloned());
    }
    if let Ok((label, _)) = &label {
        found.warnings.extend(&case.label, label.warnings.iter().cloned());
    }
    if let (Ok(image), Ok((label, _))) = (&image, &label) {
        let label = Placed { path: &case.label, header: label };
        found.problems.extend(reordering(label, image.first()).err());
    }
    match label.and_then(|(header, grid)| Ok((label_values(&case.label, &header)?, grid))) {
        Ok((values, grid)) => {
            found.problems.extend(declared.and_then(|classes| undeclared(&case.label, &values, &grid, classes)));
            found.values = Some(values.into_iter().map(|(value, _)| value).collect());
        }
        Err(error) => found.problems.push(error),
    }
    match image.and_then(|image| Ok((image.ranges()?, image))) {
        Ok((ranges, image)) => {
            found.voxels = image.voxels();
            found.channels = Some(ranges.len());
            found.examine_ranges(case, &ranges);
        }
        Err(error) => found.problems.push(error),
    }
    if found.problems.is_empty() && !crop.is_none() {
        match outside(case, declared, align, crop) {
            Ok(warning) => warning.into_iter().for_each(|warning| found.warnings.add(&case.label, warning)),
            Err(error) => found.problems.push(error),
        }
    }
    found
}

/// The warning of a case whose foreground is cropped away.
fn outside(case: &Case, declared: Option<&Classes>, align: bool, crop: Crop) -> Result<Option<Warning>, DataError> {
    let image = Image::open(&case.image, align)?;
    let mut label = read_label_map_on(&case.label, image.first())?;
    if let Some(classes) = declared.filter(|classes| !classes.are_unknown()) {
        classes.number(&case.label, &mut label)?;
    }
    let channels = image.read()?;
    let cropped = crop.of_channels(channels.iter().map(|channel| &channel.voxels[..]), label.grid.extents);
    let [all, lost] = cropped.labelled(&label.voxels);
    Ok((lost > 0).then(|| lost_foreground([all, lost])))
}

/// The warning of a label map with so many labelled voxels, and so many of them outside of the box.
pub(crate) fn lost_foreground([all, lost]: [usize; 2]) -> Warning {
    Warning::with(OUTSIDE, format!("{lost} of {all} labelled voxels"))
}

/// What the warning says of a label map whose foreground is cropped away.
const OUTSIDE: &str =
    "foreground outside of the box of non-zero voxels, where nothing is learnt or found (data.crop is nonzero)";

const BLANK: &str = "every voxel of a channel has one value";

impl ExaminedCase {
    /// Images without contrast are problems; a single channel without it may be a sequence that was not taken.
    fn examine_ranges(&mut self, case: &Case, ranges: &[[f32; 2]]) {
        let blank: Vec<usize> = (0..ranges.len()).filter(|&c| ranges[c][0] == ranges[c][1]).collect();
        if blank.len() == ranges.len() {
            let value = ranges[0][0];
            let problem = format!(
                "every voxel has the value {value}: a blank image; expected at least two values, or a data set without this case"
            );
            self.problems.push(DataError::unusable(case.image.first(), problem));
        } else if !blank.is_empty() {
            let channels: Vec<String> = blank.iter().map(|channel| (channel + 1).to_string()).collect();
            let detail = format!("channel {} of {}", channels.join(", "), ranges.len());
            self.warnings.add(case.image.first(), Warning::with(BLANK, detail));
        }
    }
}

/// The headers of an image that is not too large to be trained on.
fn examine_image(files: &ImageFiles, align: bool) -> Result<Image<'_>, DataError> {
    let image = Image::open(files, align)?;
    for (path, header) in image.headers() {
        check_extents(path, header.grid_of_channels(path)?.extents, MOST_VOXELS, ["", ""])?;
    }
    Ok(image)
}

/// The first voxel of a label map whose value no class has, as a problem.
fn undeclared(path: &Path, values: &[(u16, usize)], grid: &Grid, classes: &Classes) -> Option<DataError> {
    if classes.are_unknown() {
        return None;
    }
    let known = |value: u16| classes.class_of(value).is_some() || classes.ignored().contains(&value);
    let strangers = values.iter().filter(|(value, _)| !known(*value));
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
