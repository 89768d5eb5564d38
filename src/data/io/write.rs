//! From volumes and label maps to files: what all formats share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bytes::ByteOrder;
use super::case_of;
use super::format::writer_of;
use super::header::{Header, Segment};
use super::scalar::{Scalar, for_real_type};
use crate::data::DataError;
use crate::data::volume::{LabelMap, Volume, position_of};

/// What the header of a map of probabilities says, in NIfTI's `descrip`, MetaImage's `Comment` and NRRD's `content`.
pub(super) const PROBABILITY: &str = "vnet-engine: probability of a class";
/// The same of a map of entropies.
const ENTROPY: &str = "vnet-engine: entropy in nats";
/// The same of a map of disagreements.
const DISAGREEMENT: &str = "vnet-engine: mutual information of models in nats";

/// Whether the text of a header says that this program wrote the file beside a label map.
pub(super) fn is_of_map(text: &str) -> bool {
    [PROBABILITY, ENTROPY, DISAGREEMENT].contains(&text)
}

/// Maps of how sure a prediction is, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncertainty {
    /// Entropy of the probabilities.
    Entropy,
    /// Mutual information between voxel and model: by how much models disagree.
    Disagreement,
}

impl Uncertainty {
    /// Where the map of a label map lies: `a.nii.gz` → `a_entropy.nii.gz`, `a_disagreement.nii.gz`.
    pub fn path(self, output: &Path) -> PathBuf {
        let word = match self {
            Self::Entropy => "entropy",
            Self::Disagreement => "disagreement",
        };
        beside(output, word)
    }
}

/// A volume to be written.
pub(crate) struct Output<'a> {
    /// The file that names it.
    pub(super) path: &'a Path,
    /// The header, of any format, whose shape and affine it gets.
    pub(super) like: &'a Header,
    /// The type of its voxels.
    pub(super) scalar: Scalar,
    /// What the header says that it is, if it is no image and no label map: [`PROBABILITY`] or another of [`is_of_map`].
    pub(super) map: Option<&'static str>,
    /// Names of the labels, for formats that have a place for them.
    pub(super) segments: &'a [Segment],
    voxels: Voxels<'a>,
}

/// Voxels, x fastest.
enum Voxels<'a> {
    Labels(&'a [u16]),
    Intensities(&'a [f32]),
}

impl Output<'_> {
    /// Extents of what is written: those of `like`, without its axis of channels.
    pub(super) fn shape(&self) -> &[usize] {
        let shape = &self.like.shape[..];
        if self.like.further_axes().next().is_some() { &shape[..3] } else { shape }
    }

    /// Extents x, y, z: further axes have one element.
    pub(super) fn extents(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.shape().get(axis).copied().unwrap_or(1))
    }

    /// True for a label map.
    pub(super) fn is_labels(&self) -> bool {
        matches!(self.voxels, Voxels::Labels(_))
    }

    /// Every segment with the bounds x, x, y, y, z, z of its voxels, the last included; (0, -1) where there are none. Labels without
    /// a name get one.
    pub(super) fn segments_with_extents(&self) -> Vec<(Segment, [i64; 6])> {
        let mut bounds: BTreeMap<u16, [i64; 6]> = BTreeMap::new();
        let Voxels::Labels(voxels) = self.voxels else { return Vec::new() };
        let extents = self.extents();
        for (at, &label) in voxels.iter().enumerate().filter(|(_, label)| **label > 0) {
            let [x, y, z] = position_of(at, extents).map(|place| place as i64);
            let found = bounds.entry(label).or_insert([x, x, y, y, z, z]);
            let [x0, x1, y0, y1, z0, z1] = *found;
            *found = [x0.min(x), x1.max(x), y0.min(y), y1.max(y), z0.min(z), z1.max(z)];
        }
        let named = self.segments.iter().map(|segment| segment.value);
        let known: BTreeMap<u16, &Segment> = named.zip(self.segments).collect();
        let name = |value: u16| Segment { name: format!("label {value}"), value, color: None };
        let others = bounds.keys().filter(|value| !known.contains_key(value)).map(|&value| name(value));
        let all = self.segments.iter().cloned().chain(others);
        let bounds_of = |segment: &Segment| bounds.get(&segment.value).copied().unwrap_or([0, -1, 0, -1, 0, -1]);
        all.map(|segment| {
            let bounds = bounds_of(&segment);
            (segment, bounds)
        })
        .collect()
    }

    /// The voxels as bytes.
    ///
    /// # Errors
    /// [`DataError::VoxelCount`] where they are not as many as the shape asks for, [`DataError::Unusable`] for a value beyond
    /// the type's range.
    pub(super) fn encoded(&self, order: ByteOrder) -> Result<Vec<u8>, DataError> {
        let (count, encoded) = match self.voxels {
            Voxels::Labels(voxels) => (voxels.len(), encode(voxels, self.scalar, order)),
            Voxels::Intensities(voxels) => (voxels.len(), encode(voxels, self.scalar, order)),
        };
        let (shape, expected) = (self.shape().to_vec(), self.shape().iter().product());
        if count != expected {
            return Err(DataError::VoxelCount { path: self.path.to_path_buf(), voxels: count, expected, shape });
        }
        let problem = |value| format!("value {value} cannot be written as {}", self.scalar.name());
        encoded.map_err(|value| DataError::unusable(self.path, problem(value)))
    }
}

/// Writes a label map in the grid of `like`, the header of the image it belongs to: same shape,
/// affine, and from NIfTI to NIfTI the same qform and sform codes, version and byte order. Voxels are uint8, or uint16 if a
/// label is above 255. The file is whole or absent.
pub fn write_label_map(path: &Path, labels: &LabelMap, like: &Header) -> Result<(), DataError> {
    write_segmentation(path, labels, like, &[])
}

/// As [`write_label_map`], with the names of the labels. A segmentation of 3D Slicer (`.seg.nrrd`) holds them; other formats have no
/// place for them.
pub fn write_segmentation(
    path: &Path,
    labels: &LabelMap,
    like: &Header,
    segments: &[Segment],
) -> Result<(), DataError> {
    let wide = labels.voxels.iter().any(|&label| label > 255);
    let scalar = if wide { Scalar::Uint16 } else { Scalar::Uint8 };
    write(&Output { path, like, scalar, map: None, segments, voxels: Voxels::Labels(&labels.voxels) })
}

/// Writes an image as float32 into a new file (see [`Header::for_grid`]).
pub fn write_volume(path: &Path, volume: &Volume) -> Result<(), DataError> {
    write_volume_as(path, volume, Scalar::Float32, &Header::for_grid(&volume.grid))
}

/// Writes an image in the grid of `like` as any real type; integers are rounded, and a value beyond
/// the type's range is an error.
pub fn write_volume_as(path: &Path, volume: &Volume, scalar: Scalar, like: &Header) -> Result<(), DataError> {
    let voxels = Voxels::Intensities(&volume.voxels);
    write(&Output { path, like, scalar, map: None, segments: &[], voxels })
}

/// Writes the probabilities of a class as float32 in the grid of `like`; the header says what they are
/// ([`Header::is_probability`]).
pub fn write_probabilities(path: &Path, volume: &Volume, like: &Header) -> Result<(), DataError> {
    let (scalar, voxels) = (Scalar::Float32, Voxels::Intensities(&volume.voxels));
    write(&Output { path, like, scalar, map: Some(PROBABILITY), segments: &[], voxels })
}

/// Writes a map of entropies or disagreements as float32 in the grid of `like`; the header says what it is.
pub fn write_uncertainty(path: &Path, what: Uncertainty, volume: &Volume, like: &Header) -> Result<(), DataError> {
    let (scalar, voxels) = (Scalar::Float32, Voxels::Intensities(&volume.voxels));
    let map = match what {
        Uncertainty::Entropy => ENTROPY,
        Uncertainty::Disagreement => DISAGREEMENT,
    };
    write(&Output { path, like, scalar, map: Some(map), segments: &[], voxels })
}

/// Where the probabilities of a foreground class or region, counted from 1, of a label map lie: `a.nii.gz` → `a_prob1.nii.gz`.
pub fn probability_path(output: &Path, class: usize) -> PathBuf {
    beside(output, &format!("prob{class}"))
}

/// A file beside a label map, with another ending of its name: `a.nii.gz` → `a_WORD.nii.gz`.
fn beside(output: &Path, word: &str) -> PathBuf {
    let name = output.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let stem = case_of(&name).unwrap_or(&name).to_owned();
    output.with_file_name(format!("{stem}_{word}{}", &name[stem.len()..]))
}

/// Writes in the format of the file name, which need not be that of `like`.
fn write(output: &Output<'_>) -> Result<(), DataError> {
    writer_of(output.path)?(output)
}

/// The voxels as bytes, or the first value that the type cannot hold.
fn encode<T: Copy + Into<f64>>(voxels: &[T], scalar: Scalar, order: ByteOrder) -> Result<Vec<u8>, f64> {
    let mut bytes = Vec::with_capacity(voxels.len() * scalar.bytes());
    macro_rules! all {
        ($type:ty) => {
            for &voxel in voxels {
                let value: f64 = voxel.into();
                let number = if scalar.is_float() { value } else { value.round() };
                // The upper bound is exclusive, because 2^63 and 2^64 are floats but their predecessors are not.
                let inside = number >= <$type>::MIN as f64 && number < <$type>::MAX as f64 + 1.0;
                if !scalar.is_float() && !inside {
                    return Err(value);
                }
                bytes.extend_from_slice(&match order {
                    ByteOrder::Little => (number as $type).to_le_bytes(),
                    ByteOrder::Big => (number as $type).to_be_bytes(),
                });
            }
        };
    }
    for_real_type!(scalar, all, return voxels.first().map_or(Ok(bytes), |&voxel| Err(voxel.into())));
    Ok(bytes)
}
