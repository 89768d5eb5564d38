//! From a file to the network's input, and from the network's output back to the file's grid.
//!
//! file → box that is looked at ([`Crop`]) → normalised intensities → canonical orientation → training spacing → centred in the patch.
//! Intensities are normalised over the whole volume or box, as it was measured, before it is resampled and cropped to the patch. The
//! padding is 0: the mean of a normalised volume, and MONAI's default. Training, validation and `segment` share this path, so that all of them
//! see the same input.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::alignment::{Placed, read_label_map_on};
use super::canonical::Reorientation;
use super::crop::Crop;
use super::dataset::Case;
use super::error::shape_text;
use super::image::{Image, counted};
use super::io::Header;
use super::normalise::{IntensityStatistics, Normalisation};
use super::resample::{Interpolation, Resampling, TargetSpacing};
use super::sampling::Sampling;
use super::volume::{Grid, Volume};
use super::voxels::Voxels;
use super::{Classes, DataError, Decision, Geometry, ImageFiles, LabelMap, PerChannel, Target};

/// How a volume becomes an input of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// How intensities are brought to a common scale.
    pub normalisation: PerChannel<Normalisation>,
    /// The data set's, for [`Normalisation::CtWindow`].
    pub intensities: PerChannel<Option<IntensityStatistics>>,
    /// Spacing to which volumes are brought.
    pub spacing: TargetSpacing,
    /// How images are brought there.
    pub interpolation: Interpolation,
    /// Extents of the network's input, x, y, z.
    pub patch: [usize; 3],
    /// Channels of an image.
    pub channels: usize,
    /// Outputs of the network: the number of classes, background included, or that of the regions.
    pub classes: usize,
    /// The values of the classes in label maps, with the values that are ignored and the regions; none where the values are
    /// the numbers of the classes.
    pub labels: Option<Classes>,
    /// True to bring every volume to the orientation nearest to RAS first.
    pub canonical: bool,
    /// True to resample channels on another grid onto that of the first.
    pub align: bool,
    /// What of a volume is looked at.
    #[serde(default, skip_serializing_if = "Crop::is_none")]
    pub crop: Crop,
}

impl Preparation {
    /// Volumes in their own spacing and orientation, for two classes and without a patch; set the other fields as needed.
    pub fn native(normalisation: Normalisation) -> Preparation {
        Preparation {
            normalisation: normalisation.into(),
            intensities: None.into(),
            spacing: TargetSpacing::default(),
            interpolation: Interpolation::default(),
            patch: [1; 3],
            channels: 1,
            classes: 2,
            labels: None,
            canonical: false,
            align: false,
            crop: Crop::None,
        }
    }

    /// The reorientation of a volume to the network's axes, and its grid after it.
    pub(super) fn orient(&self, grid: &Grid) -> (Reorientation, Grid) {
        let reorientation =
            if self.canonical { Reorientation::to_ras(grid) } else { Reorientation::identity(grid.extents) };
        let oriented = reorientation.apply_to_grid(grid);
        (reorientation, oriented)
    }

    /// How the network's outputs become classes.
    pub fn decision(&self) -> Decision {
        self.labels.as_ref().map_or(Decision::Largest(self.classes), Classes::decision)
    }

    /// What is scored: the foreground classes, or the regions.
    pub fn targets(&self) -> Vec<Target> {
        self.labels.as_ref().map_or_else(|| Classes::numbered(self.classes).targets(), Classes::targets)
    }

    /// Replaces the values of a label map by classes; `path` is for the error.
    ///
    /// # Errors
    /// [`DataError::Unusable`] for a value that no class has.
    pub fn to_classes(&self, path: &Path, label: &mut LabelMap) -> Result<(), DataError> {
        self.labels.as_ref().unwrap_or(&Classes::numbered(self.classes)).number(path, label)
    }

    /// Replaces the classes of a label map by the values that are written for them.
    pub fn to_values(&self, voxels: &mut [u16]) {
        if let Some(classes) = &self.labels {
            classes.to_values(voxels);
        }
    }
}

/// What happens to a volume whose extents are not those of the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Padded and cropped to the patch.
    Patch,
    /// Padded to at least the patch, never cropped: for a sliding window.
    Whole,
}

impl Fit {
    /// How the cases of a training are fitted.
    pub(super) fn of_training(sampling: Sampling) -> Fit {
        match sampling {
            Sampling::Whole => Fit::Patch,
            Sampling::Patch => Fit::Whole,
        }
    }
}

/// A volume ready for the network.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Normalised intensities `[D, H, W, C]` of the extents `geometry.grid.extents`: the channels of a voxel together, x
    /// fastest.
    pub image: Voxels<f32>,
    /// Channels of the image.
    pub channels: usize,
    /// Classes of the same voxels, or [`IGNORED`](super::IGNORED); none for an image alone.
    pub label: Option<Voxels<u16>>,
    /// Where the voxels came from.
    pub geometry: Geometry,
}

impl Prepared {
    /// Prepares a volume of one channel that is in memory.
    pub fn from_volume(volume: Volume, preparation: &Preparation, fit: Fit) -> Prepared {
        Prepared::from_channels(vec![volume], preparation, fit)
    }

    /// Prepares the channels of an image that are in memory, all on the grid of the first.
    ///
    /// # Panics
    /// When there is no channel, their voxels are not equally many, or settings are given for another number of channels.
    pub fn from_channels(channels: Vec<Volume>, preparation: &Preparation, fit: Fit) -> Prepared {
        let grid = &channels[0].grid;
        let crop = preparation.crop.of_channels(channels.iter().map(|channel| &channel.voxels[..]), grid.extents);
        let geometry = Geometry::new(grid, crop, preparation, fit);
        let count = channels.len();
        let mut image = if count == 1 { Vec::new() } else { vec![0.0; geometry.grid.voxel_count() * count] };
        for (channel, volume) in channels.into_iter().enumerate() {
            let mut voxels = crop.applied(volume.voxels);
            let statistics = preparation.intensities.of(channel).as_ref();
            preparation.normalisation.of(channel).apply(&mut voxels, statistics);
            let prepared = geometry.apply_box(&voxels, 0.0);
            if count == 1 {
                image = prepared;
            } else {
                let places = image.iter_mut().skip(channel).step_by(count);
                places.zip(prepared).for_each(|(place, value)| *place = value);
            }
        }
        Prepared { image: image.into(), channels: count, label: None, geometry }
    }

    /// Prepares image and label of one case of one channel that are in memory; padding has class 0. The label's voxels may
    /// lie in another order than the image's.
    ///
    /// # Errors
    /// [`DataError`] when the label does not lie on the image's grid, or has values that are no class.
    pub fn from_pair(
        volume: Volume,
        label: &LabelMap,
        preparation: &Preparation,
        fit: Fit,
    ) -> Result<Prepared, DataError> {
        Prepared::from_labelled(vec![volume], label, preparation, fit)
    }

    /// As [`Prepared::from_pair`], of the channels of an image.
    ///
    /// # Errors
    /// As [`Prepared::from_pair`]; [`DataError`] when there is no channel, or channels differ in their grids.
    pub fn from_labelled(
        channels: Vec<Volume>,
        label: &LabelMap,
        preparation: &Preparation,
        fit: Fit,
    ) -> Result<Prepared, DataError> {
        let path = Path::new("label map");
        let grid = check_channels_in_memory(&channels, preparation)?;
        let Some(reordering) = Reorientation::between(&label.grid, &grid) else {
            let difference = label.grid.difference(&grid).unwrap_or_default();
            return Err(DataError::GridMismatch { label: path.to_owned(), image: "volume".into(), difference });
        };
        let mut label = LabelMap { voxels: reordering.apply(&label.voxels), grid };
        preparation.to_classes(path, &mut label)?;
        Ok(Prepared::from_channels(channels, preparation, fit).with_label(&label))
    }

    /// The intensities of one channel, x fastest.
    pub fn channel(&self, channel: usize) -> Cow<'_, [f32]> {
        match self.channels {
            1 => Cow::Borrowed(&self.image),
            channels => self.image.iter().skip(channel).step_by(channels).copied().collect(),
        }
    }

    /// With a label on the grid of the image.
    pub(crate) fn with_label(mut self, label: &LabelMap) -> Prepared {
        self.label = Some(self.geometry.apply_labels(&label.voxels, 0).into());
        self
    }

    /// Bytes of the process's own memory.
    pub fn bytes(&self) -> usize {
        self.image.bytes() + self.label.as_ref().map_or(0, Voxels::bytes)
    }
}

/// Largest number of voxels of a volume: 8 GiB of float32. Mistaken spacings ask for far more.
pub(crate) const MOST_VOXELS: usize = 1 << 31;

/// Refuses a volume of more than `limit` voxels, at its own or at the training spacing.
pub(crate) fn check_size(path: &Path, grid: &Grid, preparation: &Preparation, limit: usize) -> Result<(), DataError> {
    check_extents(path, grid.extents, limit, ["", ""])?;
    let prepared = Resampling::new(&preparation.orient(grid).1, &preparation.spacing).to;
    check_extents(path, prepared, limit, [" at the training spacing", ": data.spacing is too fine"])
}

/// Refuses more than `limit` voxels; the error also says `what` they are and why they are so many.
pub(super) fn check_extents(
    path: &Path,
    extents: [usize; 3],
    limit: usize,
    [what, why]: [&str; 2],
) -> Result<(), DataError> {
    let count = extents.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    if count.is_some_and(|count| count <= limit) {
        return Ok(());
    }
    let problem = format!("{} voxels{what}, expected at most {limit} voxels{why}", shape_text(&extents));
    Err(DataError::unusable(path, problem))
}

/// The grid of channels that are in memory, which must be as many as the preparation says, and lie on one grid.
pub(crate) fn check_channels_in_memory(channels: &[Volume], preparation: &Preparation) -> Result<Grid, DataError> {
    let path = Path::new("volume");
    let (found, expected) = (channels.len(), preparation.channels);
    let first = channels.first().filter(|_| found == expected);
    let wrong = || DataError::unusable(path, format!("{}, expected {}", counted(found), counted(expected)));
    let grid = &first.ok_or_else(wrong)?.grid;
    match channels.iter().find_map(|channel| channel.grid.difference(grid)) {
        Some(difference) => {
            let image = "the first channel".into();
            Err(DataError::GridMismatch { label: "a channel".into(), image, difference })
        }
        None => Ok(grid.clone()),
    }
}

/// Checks what the headers of an image say, before its voxels are read. Returns that of one channel.
///
/// # Errors
/// [`DataError`] that names the file.
pub fn check_image(image: &ImageFiles, preparation: &Preparation) -> Result<Header, DataError> {
    open_image(image, preparation).map(Image::into_header)
}

/// The headers of an image of the right number of channels that is not too large.
fn open_image<'a>(files: &'a ImageFiles, preparation: &Preparation) -> Result<Image<'a>, DataError> {
    let image = Image::open(files, preparation.align)?;
    image.check_channels(preparation.channels)?;
    let first = image.first();
    check_size(first.path, &first.header.grid_of_channels(first.path)?, preparation, MOST_VOXELS)?;
    Ok(image)
}

/// Reads and prepares an image; the header, of one channel, is what an output in its grid is written from.
pub fn prepare_image(image: &ImageFiles, preparation: &Preparation, fit: Fit) -> Result<(Prepared, Header), DataError> {
    let image = open_image(image, preparation)?;
    let prepared = Prepared::from_channels(image.read()?, preparation, fit);
    Ok((prepared, image.into_header()))
}

/// Reads and prepares image and label of a case; padding has label 0.
///
/// The label must lie on the image's grid, in any order of voxels, and have the values of classes.
pub fn prepare_pair(case: &Case, preparation: &Preparation, fit: Fit) -> Result<Prepared, DataError> {
    let (prepared, image) = prepare_image(&case.image, preparation, fit)?;
    let label = read_case_label(case, &image, preparation)?;
    Ok(prepared.with_label(&label))
}

/// Reads the label of a case onto the grid of its image, of which `image` is the header, as classes.
///
/// # Errors
/// [`DataError`] that names the file.
pub fn read_case_label(case: &Case, image: &Header, preparation: &Preparation) -> Result<LabelMap, DataError> {
    let mut label = read_label_map_on(&case.label, Placed { path: case.image.first(), header: image })?;
    preparation.to_classes(&case.label, &mut label)?;
    Ok(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::io;

    /// Also when a data set is examined: each of the two files of a case once.
    #[test]
    fn the_header_of_a_file_is_parsed_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [image, label] = ["a.nii.gz", "a_segmentation.nii.gz"].map(|name| folder.path().join(name));
        io::write_volume(&image, &volume()).expect("written");
        let voxels = vec![1; volume().voxels.len()];
        io::write_label_map(&label, &LabelMap { grid: volume().grid, voxels }, &Header::for_grid(&volume().grid))
            .expect("written");
        let case = Case { name: "a".into(), image: image.into(), label };
        let parsed = |read: &dyn Fn()| {
            let before = io::PARSED_HEADERS.get();
            read();
            io::PARSED_HEADERS.get() - before
        };
        let native = Preparation::native(Normalisation::ZScoreAll);
        assert_eq!(parsed(&|| drop(prepare_pair(&case, &native, Fit::Whole).expect("prepared"))), 2);
        assert_eq!(parsed(&|| drop(prepare_image(&case.image, &native, Fit::Whole).expect("prepared"))), 1);
        assert_eq!(
            parsed(&|| assert!(
                super::super::examine::examine_case(&case, None, (false, Crop::None)).problems.is_empty()
            )),
            2
        );
    }

    fn volume() -> Volume {
        // Left, posterior, superior; smaller than the patch along x, larger along y.
        let grid = Grid {
            extents: [3, 6, 2],
            spacing: [1.5, 0.5, 3.0],
            affine: [[-1.5, 0.0, 0.1, 20.0], [0.0, -0.5, 0.0, 10.0], [0.05, 0.0, 3.0, -4.0]],
        };
        Volume { voxels: (0..36u8).map(|v| f32::from(v) * 1.25 - 9.0).collect(), grid }
    }

    fn preparation(canonical: bool) -> Preparation {
        Preparation { patch: [5, 4, 2], classes: 3, canonical, ..Preparation::native(Normalisation::None) }
    }

    #[test]
    fn prepared_voxels_stay_where_they_are_in_the_patient() {
        for canonical in [false, true] {
            let volume = volume();
            let prepared = Prepared::from_volume(volume.clone(), &preparation(canonical), Fit::Patch);
            let geometry = &prepared.geometry;
            assert_eq!(geometry.grid.extents, [5, 4, 2]);
            // Voxel (x 1, y 2, z 1) of the file, followed through the preparation by hand.
            let world = volume.grid.to_world([1.0, 2.0, 1.0]);
            let at = if canonical { [2.0, 2.0, 1.0] } else { [2.0, 1.0, 1.0] };
            for (here, there) in geometry.grid.to_world(at).iter().zip(world) {
                assert!((here - there).abs() < 1e-9, "{here} instead of {there}");
            }
            let index = (at[2] as usize * 4 + at[1] as usize) * 5 + at[0] as usize;
            assert_eq!(prepared.image[index], volume.voxels[(6 + 2) * 3 + 1]);
        }
    }

    #[test]
    fn whole_fit_restores_every_voxel() {
        let volume = volume();
        let prepared = Prepared::from_volume(volume.clone(), &preparation(true), Fit::Whole);
        assert_eq!(prepared.geometry.grid.extents, [5, 6, 2]);
        assert_eq!(prepared.geometry.restore_image(&prepared.image, f32::NAN), volume.voxels);
    }

    /// Two channels on the volume's grid, each with one voxel that is not zero: the box of both, normalised over it.
    #[test]
    fn a_cropped_volume_is_normalised_in_its_box_and_goes_back_to_its_place() {
        let grid = volume().grid;
        let at = |x: usize, y: usize, z: usize| (z * 6 + y) * 3 + x;
        let mut channels = [vec![0.0; 36], vec![0.0; 36]];
        (channels[0][at(1, 1, 0)], channels[1][at(2, 3, 1)]) = (6.0, -3.0);
        let volumes: Vec<Volume> =
            channels.iter().map(|voxels| Volume { voxels: voxels.clone(), grid: grid.clone() }).collect();
        let preparation = Preparation {
            crop: Crop::Nonzero,
            channels: 2,
            patch: [1; 3],
            canonical: true,
            ..Preparation::native(Normalisation::ZScoreAll)
        };
        let prepared = Prepared::from_channels(volumes.clone(), &preparation, Fit::Whole);
        let geometry = &prepared.geometry;
        assert_eq!((geometry.crop.start, geometry.crop.extents), ([1, 1, 0], [2, 3, 2]));
        assert_eq!(geometry.grid.extents, [2, 3, 2]);
        // Of 12 voxels one is 6: mean 1/2, variance 36/12 - 1/4.
        let normalised = f64::from(prepared.channel(0).iter().copied().fold(0.0, f32::max));
        approx::assert_relative_eq!(normalised, 5.5 / 2.75f64.sqrt(), max_relative = 1e-6);
        // Voxels stay where they are in the patient; x and y are mirrored.
        let (here, there) = (geometry.grid.to_world([1.0, 2.0, 0.0]), grid.to_world([1.0, 1.0, 0.0]));
        assert!((0..3).all(|axis| (here[axis] - there[axis]).abs() < 1e-9), "{here:?} instead of {there:?}");
        assert_eq!(f64::from(prepared.channel(0)[2 * 2 + 1]), normalised);
        // The way back is exact within the box.
        let labels: Vec<u16> = (1..=36).collect();
        let back = geometry.restore_labels(&geometry.apply_labels(&labels, 0), 99);
        let inside = |label: usize| geometry.crop.contains(super::super::volume::position_of(label, grid.extents));
        let expected: Vec<u16> = (0..36).map(|label| if inside(label) { label as u16 + 1 } else { 99 }).collect();
        assert_eq!(back, expected);
        let whole = Prepared::from_channels(volumes, &Preparation { crop: Crop::None, ..preparation }, Fit::Whole);
        assert_eq!(whole.geometry.grid.extents, [3, 6, 2]);
    }
}
