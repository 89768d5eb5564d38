//! The way of a volume from its file to the network and back.
//!
//! file → box of the voxels that are not zero, where it is cropped → canonical orientation → training spacing → centred in the patch.

use std::path::Path;

use super::Decision;
use super::canonical::Reorientation;
use super::crop::CropBox;
use super::patch::CenterFit;
use super::prepare::{Fit, MOST_VOXELS, Preparation, check_size};
use super::resample::{Interpolation, Resampling};
use super::volume::Grid;

/// The way of a volume from its file to the network.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Grid of the prepared volume.
    pub grid: Grid,
    /// Grid of the file.
    pub input: Grid,
    /// The box of the file's grid that the network sees.
    pub crop: CropBox,
    /// From the file's orientation to the network's, of the box.
    pub reorientation: Reorientation,
    /// From the file's spacing to the network's, after it.
    pub resampling: Resampling,
    /// Padding and cropping in the end.
    pub fit: CenterFit,
    /// How images are resampled.
    interpolation: Interpolation,
}

impl Geometry {
    /// The way of the box `crop` of a volume.
    pub(super) fn new(input: &Grid, crop: CropBox, preparation: &Preparation, fit: Fit) -> Geometry {
        let (reorientation, oriented) = preparation.orient(&crop.apply_to_grid(input));
        let resampling = Resampling::new(&oriented, &preparation.spacing);
        let oriented = resampling.apply_to_grid(&oriented);
        let to = match fit {
            Fit::Patch => preparation.patch,
            Fit::Whole => std::array::from_fn(|axis| oriented.extents[axis].max(preparation.patch[axis])),
        };
        let fit = CenterFit { from: oriented.extents, to };
        let origin = oriented.to_world(fit.origin().map(|index| index as f64));
        let mut grid = Grid { extents: to, ..oriented };
        for (row, position) in grid.affine.iter_mut().zip(origin) {
            row[3] = position;
        }
        let interpolation = preparation.interpolation;
        Geometry { grid, input: input.clone(), crop, reorientation, resampling, fit, interpolation }
    }

    /// The way of a volume that was prepared before, of which only the grid of its file and the numbers of the box are kept; no
    /// numbers where volumes are taken whole.
    ///
    /// # Errors
    /// Where such a grid or box is never prepared.
    pub(super) fn of_cached(
        input: &Grid,
        crop: Option<&[u32]>,
        preparation: &Preparation,
        fit: Fit,
    ) -> Result<Geometry, String> {
        let path = Path::new("grid");
        let checked = input.check(path, input.extents.iter().fold(1, |count, &extent| count.saturating_mul(extent)));
        checked.and_then(|()| check_size(path, input, preparation, MOST_VOXELS)).map_err(|error| error.to_string())?;
        let whole = CropBox::whole(input.extents);
        let crop = crop.map_or(Ok(whole), |numbers| CropBox::of_numbers(input.extents, numbers))?;
        Ok(Geometry::new(input, crop, preparation, fit))
    }

    /// Intensities of the file's grid to the prepared grid; padding has the value `fill`.
    pub fn apply_image(&self, voxels: &[f32], fill: f32) -> Vec<f32> {
        if self.crop.is_whole() {
            return self.apply_box(voxels, fill);
        }
        self.apply_box(&self.crop.apply(voxels), fill)
    }

    /// As [`Geometry::apply_image`], of the voxels of the box.
    pub(super) fn apply_box(&self, voxels: &[f32], fill: f32) -> Vec<f32> {
        self.fit.apply(&self.resampling.image(self.reorientation.apply(voxels), self.interpolation), fill)
    }

    /// Labels of the file's grid to the prepared grid; padding has the value `fill`.
    pub fn apply_labels(&self, labels: &[u16], fill: u16) -> Vec<u16> {
        let cropped = (!self.crop.is_whole()).then(|| self.crop.apply(labels));
        let labels = self.reorientation.apply(cropped.as_deref().unwrap_or(labels));
        self.fit.apply(&self.resampling.labels(&labels), fill)
    }

    /// Values of the prepared grid (a probability of the network's output) to the file's grid, linearly; what was
    /// cropped away has the value `fill`. Exact where nothing was resampled.
    pub fn restore_image(&self, voxels: &[f32], fill: f32) -> Vec<f32> {
        let voxels = self.resampling.inverse().image(self.fit.invert(voxels, fill), Interpolation::Linear);
        self.uncropped(&voxels, fill)
    }

    /// Voxels of the box in the network's orientation to the file's grid; those outside have the value `fill`.
    pub(super) fn uncropped<T: Copy>(&self, voxels: &[T], fill: T) -> Vec<T> {
        self.crop.invert(self.reorientation.invert(voxels), fill)
    }

    /// Labels of the prepared grid to the file's grid; what was cropped away has the value `fill`. Exact where nothing
    /// was resampled.
    pub fn restore_labels(&self, labels: &[u16], fill: u16) -> Vec<u16> {
        self.uncropped(&self.resampling.inverse().labels(&self.fit.invert(labels, fill)), fill)
    }

    /// The class that is decided for each voxel of the file's grid, of probabilities on the prepared grid: these are
    /// interpolated linearly, so that outlines are finer than the network's voxels. 0 where the volume was cropped.
    pub fn restore_classes(&self, probabilities: &[f32], decision: impl Into<Decision>) -> Vec<u16> {
        let (decision, resampling) = (decision.into(), self.resampling.inverse());
        let count = resampling.to.iter().product();
        let (mut best, mut labels) = (vec![f32::NEG_INFINITY; count], vec![0; count]);
        for output in 0..decision.outputs() {
            let values: Vec<f32> = probabilities.iter().skip(output).step_by(decision.outputs()).copied().collect();
            let image = resampling.image(self.fit.invert(&values, 0.0), Interpolation::Linear);
            decision.take(output, &image, &mut best, &mut labels);
        }
        self.uncropped(&labels, 0)
    }
}
