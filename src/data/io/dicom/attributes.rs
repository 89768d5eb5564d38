//! The attributes that make a volume of slices (DICOM PS3.6), of a file or of one frame of it.

use std::ops::RangeInclusive;
use std::path::Path;

use super::dataset::{self, DataSet};
use super::elements::{Elements, Tag};
use crate::data::DataError;

/// Tag and name.
pub(super) type Attribute = (Tag, &'static str);

pub(super) const SOP_CLASS_UID: Attribute = ((0x0008, 0x0016), "SOPClassUID");
pub(super) const MODALITY: Attribute = ((0x0008, 0x0060), "Modality");
pub(super) const SERIES_DESCRIPTION: Attribute = ((0x0008, 0x103E), "SeriesDescription");
pub(super) const FRAME_TYPE: Attribute = ((0x0008, 0x9007), "FrameType");
pub(super) const COMPLEX_COMPONENT: Attribute = ((0x0008, 0x9208), "ComplexImageComponent");
pub(super) const SLICE_THICKNESS: Attribute = ((0x0018, 0x0050), "SliceThickness");
pub(super) const SPACING_BETWEEN_SLICES: Attribute = ((0x0018, 0x0088), "SpacingBetweenSlices");
pub(super) const ECHO_TIME: Attribute = ((0x0018, 0x9082), "EffectiveEchoTime");
pub(super) const B_VALUE: Attribute = ((0x0018, 0x9087), "DiffusionBValue");
pub(super) const SERIES_INSTANCE_UID: Attribute = ((0x0020, 0x000E), "SeriesInstanceUID");
pub(super) const SERIES_NUMBER: Attribute = ((0x0020, 0x0011), "SeriesNumber");
pub(super) const IMAGE_POSITION_PATIENT: Attribute = ((0x0020, 0x0032), "ImagePositionPatient");
pub(super) const IMAGE_ORIENTATION_PATIENT: Attribute = ((0x0020, 0x0037), "ImageOrientationPatient");
pub(super) const STACK_ID: Attribute = ((0x0020, 0x9056), "StackID");
pub(super) const TEMPORAL_POSITION_INDEX: Attribute = ((0x0020, 0x9128), "TemporalPositionIndex");
pub(super) const TRIGGER_DELAY: Attribute = ((0x0020, 0x9153), "NominalCardiacTriggerDelayTime");
pub(super) const DIMENSION_INDICES: Attribute = ((0x0020, 0x9157), "DimensionIndexValues");
pub(super) const DIMENSION_POINTER: Attribute = ((0x0020, 0x9165), "DimensionIndexPointer");
pub(super) const DIMENSIONS: Attribute = ((0x0020, 0x9222), "DimensionIndexSequence");
pub(super) const TEMPORAL_POSITION_OFFSET: Attribute = ((0x0020, 0x930D), "TemporalPositionTimeOffset");
pub(super) const SAMPLES_PER_PIXEL: Attribute = ((0x0028, 0x0002), "SamplesPerPixel");
pub(super) const NUMBER_OF_FRAMES: Attribute = ((0x0028, 0x0008), "NumberOfFrames");
pub(super) const ROWS: Attribute = ((0x0028, 0x0010), "Rows");
pub(super) const COLUMNS: Attribute = ((0x0028, 0x0011), "Columns");
pub(super) const PIXEL_SPACING: Attribute = ((0x0028, 0x0030), "PixelSpacing");
pub(super) const BITS_ALLOCATED: Attribute = ((0x0028, 0x0100), "BitsAllocated");
pub(super) const BITS_STORED: Attribute = ((0x0028, 0x0101), "BitsStored");
pub(super) const HIGH_BIT: Attribute = ((0x0028, 0x0102), "HighBit");
pub(super) const PIXEL_REPRESENTATION: Attribute = ((0x0028, 0x0103), "PixelRepresentation");
pub(super) const RESCALE_INTERCEPT: Attribute = ((0x0028, 0x1052), "RescaleIntercept");
pub(super) const RESCALE_SLOPE: Attribute = ((0x0028, 0x1053), "RescaleSlope");
pub(super) const SHARED: Attribute = ((0x5200, 0x9229), "SharedFunctionalGroupsSequence");
pub(super) const PER_FRAME: Attribute = ((0x5200, 0x9230), "PerFrameFunctionalGroupsSequence");

/// Lengths in a file, mm, at most: what is computed of them stays finite.
pub(super) const MOST_MILLIMETRES: f64 = 1e9;

/// The attributes of a file, or of one of its frames, which come first.
pub(super) struct Attributes<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a DataSet<'a>,
    /// What is said of this frame, and of all frames.
    pub(super) frame: [Option<&'a Elements>; 2],
}

impl Attributes<'_> {
    /// The bytes of an attribute; none if it is absent.
    pub(super) fn value(&self, tag: Tag) -> Option<&[u8]> {
        let of_frame = |elements: &&'_ Elements| elements.value(&self.file.bytes, tag);
        self.frame.iter().flatten().find_map(of_frame).or_else(|| self.file.value(tag))
    }

    /// Text without trailing blanks; empty if it is absent.
    pub(super) fn text(&self, (tag, _): Attribute) -> String {
        self.value(tag).map(dataset::text).unwrap_or_default()
    }

    /// Unsigned numbers of 32 bits; none if they are absent.
    pub(super) fn longs(&self, (tag, _): Attribute) -> Vec<u32> {
        let (longs, _) = self.value(tag).unwrap_or_default().as_chunks::<4>();
        longs.iter().map(|&long| self.file.coding.long(long)).collect()
    }

    /// A number of 64 bits; none if it is absent.
    pub(super) fn double(&self, (tag, _): Attribute) -> Option<f64> {
        let eight = *self.value(tag)?.first_chunk()?;
        Some(if self.file.coding.big { f64::from_be_bytes(eight) } else { f64::from_le_bytes(eight) })
    }

    pub(super) fn wrong(&self, (_, field): Attribute, found: String, expected: &'static str) -> DataError {
        DataError::Header { path: self.path.to_path_buf(), field, found, expected }
    }

    /// All numbers of an attribute of decimal or integer strings; none if it is absent or empty.
    pub(super) fn numbers(&self, attribute: Attribute) -> Result<Option<Vec<f64>>, DataError> {
        let text = self.text(attribute);
        if text.trim().is_empty() {
            return Ok(None);
        }
        let numbers: Result<Vec<f64>, _> = text.split('\\').map(|number| number.trim().parse()).collect();
        numbers.map(Some).map_err(|_| self.wrong(attribute, format!("{text:?}"), "numbers"))
    }

    pub(super) fn number(&self, attribute: Attribute) -> Result<Option<f64>, DataError> {
        Ok(self.numbers(attribute)?.and_then(|numbers| numbers.first().copied()))
    }

    pub(super) fn several<const N: usize>(
        &self,
        attribute: Attribute,
        expected: &'static str,
    ) -> Result<[f64; N], DataError> {
        let numbers = self.numbers(attribute)?.ok_or_else(|| self.wrong(attribute, "absent".into(), expected))?;
        let wrong = || self.wrong(attribute, format!("{numbers:?}"), expected);
        let array: [f64; N] = numbers.as_slice().try_into().map_err(|_| wrong())?;
        if array.iter().all(|value| value.abs() <= MOST_MILLIMETRES) { Ok(array) } else { Err(wrong()) }
    }

    /// An unsigned number of 16 bits within a range.
    pub(super) fn whole(
        &self,
        attribute: Attribute,
        range: RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<u32, DataError> {
        let two = self.value(attribute.0).and_then(|value| value.first_chunk());
        let value = two.map(|&two| u32::from(self.file.coding.short(two)));
        let value = value.ok_or_else(|| self.wrong(attribute, "absent".into(), expected))?;
        if range.contains(&value) { Ok(value) } else { Err(self.wrong(attribute, value.to_string(), expected)) }
    }
}
