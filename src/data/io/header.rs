//! What a file of any format says about its voxels.

use std::any::Any;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::axes::OtherAffine;
use super::bytes::ByteOrder;
use super::input::Input;
use super::nifti;
use super::scalar::{Encoding, Scalar, Scaling};
use crate::data::error::shape_text;
use crate::data::volume::Grid;
use crate::data::{DataError, Warning};

/// Channels of a case, at most.
pub const MOST_CHANNELS: usize = 64;

/// What a file says about its voxels.
#[derive(Clone, Debug)]
pub struct Header {
    /// Extents of x, y, z, and of further axes where there are some. The axis of the channels follows z, whatever the order in
    /// the file.
    pub shape: Vec<usize>,
    /// True if the file stores the channels of a voxel side by side; false if the whole volume of one channel follows that of
    /// the other.
    pub interleaved: bool,
    /// Type of a voxel in the file.
    pub scalar: Scalar,
    /// Byte order of the file.
    pub byte_order: ByteOrder,
    /// Scaling from stored to real values, where there is one.
    pub scaling: Option<Scaling>,
    /// Distance of neighbouring voxels along x, y, z in mm, the length of the affine's columns; 1 for axes that are not
    /// there.
    pub spacing: [f64; 3],
    /// Voxel indices to RAS+ mm.
    pub affine: [[f64; 4]; 3],
    /// Oddities that a user should know of; none of them keeps the file from being read.
    pub warnings: Vec<Warning>,
    /// What only the format knows.
    pub(crate) native: Arc<dyn Native>,
}

/// A named part of a label map, as 3D Slicer stores them.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// As a person knows it.
    pub name: String,
    /// Its value in the label map, 1 to 65535.
    pub value: u16,
    /// Red, green and blue from 0 to 1, where the file has a color.
    pub color: Option<[f32; 3]>,
}

/// What only the format of a file knows of it: where the voxels are, and what an output in the same format keeps.
pub(crate) trait Native: Any + Debug + Send + Sync {
    /// Hands over all voxels in the order of the file, a piece at a time: whole voxels, and how they are stored. The length
    /// of the file is checked before the first piece. `header` is the one of which this is the native part.
    fn visit(&self, input: Input<'_>, header: &Header, each: Pieces<'_>) -> Result<(), DataError>;

    /// Files besides the one that names the volume in which it says its voxels are. What follows from the name alone, as for
    /// `.hdr` and `.img`, [`super::format::Format::files`] knows.
    fn voxel_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// See [`Header::other_affines`].
    fn other_affines(&self) -> Vec<OtherAffine> {
        Vec::new()
    }

    /// See [`Header::is_probability`].
    fn is_probability(&self) -> bool {
        false
    }

    /// See [`Header::segments`].
    fn segments(&self) -> &[Segment] {
        &[]
    }
}

/// What voxels are handed to.
pub(crate) type Pieces<'a> = &'a mut dyn FnMut(&[u8], Encoding) -> Result<(), DataError>;

impl Header {
    /// The grid of a file of one channel, as label maps are: three axes, and further ones only of extent 1.
    ///
    /// # Errors
    /// [`DataError::Unusable`] for another shape; `path` is the file.
    pub fn grid(&self, path: &Path) -> Result<Grid, DataError> {
        match self.grid_of_channels(path) {
            Ok(grid) if self.further_axes().next().is_none() => Ok(grid),
            _ => Err(self.wrong_shape(path, "three axes (x, y, z); further axes only of extent 1")),
        }
    }

    /// The grid that all channels of a file share: its first three axes.
    ///
    /// # Errors
    /// [`DataError::Unusable`] where there are fewer.
    pub fn grid_of_channels(&self, path: &Path) -> Result<Grid, DataError> {
        let [x, y, z, ..] = self.shape[..] else { return Err(self.wrong_shape(path, "three axes (x, y, z)")) };
        Ok(Grid { extents: [x, y, z], spacing: self.spacing, affine: self.affine })
    }

    /// The number of channels: the extent of the one axis after z that is larger than 1; 1 where there is none.
    ///
    /// # Errors
    /// [`DataError::Unusable`] for fewer than three axes, for several further axes, and for more than [`MOST_CHANNELS`].
    pub fn channels(&self, path: &Path) -> Result<usize, DataError> {
        self.grid_of_channels(path)?;
        let mut further = self.further_axes();
        match (further.next(), further.next()) {
            (None, _) => Ok(1),
            (Some(channels), None) if channels <= MOST_CHANNELS => Ok(channels),
            (Some(_), None) => Err(self.wrong_shape(path, &format!("at most {MOST_CHANNELS} channels after x, y, z"))),
            (Some(_), Some(_)) => Err(self.wrong_shape(path, "x, y, z and one axis of channels")),
        }
    }

    /// Extents after z that are larger than 1.
    pub(super) fn further_axes(&self) -> impl Iterator<Item = usize> {
        self.shape.iter().skip(3).copied().filter(|&extent| extent != 1)
    }

    fn wrong_shape(&self, path: &Path, expected: &str) -> DataError {
        DataError::unusable(path, format!("shape is {}, expected {expected}", shape_text(&self.shape)))
    }

    /// The header of one channel: what an output in the grid of the image is written from.
    #[must_use]
    pub fn of_one_channel(mut self) -> Header {
        if self.further_axes().next().is_some() {
            self.shape.truncate(3);
        }
        self.interleaved = false;
        self
    }

    /// Refuses voxels that are not one real number each.
    pub(in crate::data) fn check_real(&self, path: &Path) -> Result<(), DataError> {
        if self.scalar.is_real() {
            return Ok(());
        }
        let expected = "expected one real number per voxel (integer, float32 or float64)";
        Err(DataError::unusable(path, format!("voxels are of type {}, {expected}", self.scalar.name())))
    }

    /// Affines that the file states, or that other programs assume, besides the one that is used.
    pub fn other_affines(&self) -> Vec<OtherAffine> {
        self.native.other_affines()
    }

    /// True if this program wrote the file beside a label map: probabilities of a class ([`super::write_probabilities`]) or
    /// uncertainties ([`super::write_uncertainty`]). The header says so.
    pub fn is_probability(&self) -> bool {
        self.native.is_probability()
    }

    /// The segments that a segmentation of 3D Slicer names (`.seg.nrrd`), in the order of the file, with their values in the label
    /// map that is read; none in other files.
    pub fn segments(&self) -> &[Segment] {
        self.native.segments()
    }

    /// The header of a new file: NIfTI-1 (NIfTI-2 above 32767 voxels along an axis), little endian.
    pub fn for_grid(grid: &Grid) -> Header {
        nifti::header_for_grid(grid)
    }

    /// How voxels are stored.
    pub(super) fn encoding(&self) -> Encoding {
        Encoding { scalar: self.scalar, order: self.byte_order, scaling: self.scaling }
    }

    /// The native part, where it is of this type.
    pub(super) fn native_as<T: Native>(&self) -> Option<&T> {
        (self.native.as_ref() as &dyn Any).downcast_ref()
    }

    /// Bytes of all voxels; `field` of `path` is what says the shape.
    pub(super) fn voxel_bytes(&self, path: &Path, field: &'static str) -> Result<u64, DataError> {
        let product = |product: u64, &extent: &usize| product.checked_mul(extent as u64);
        self.shape.iter().try_fold(self.scalar.bytes() as u64, product).ok_or_else(|| DataError::Header {
            path: path.to_path_buf(),
            field,
            found: format!("{:?}", self.shape),
            expected: "a volume of less than 2^64 bytes",
        })
    }
}
