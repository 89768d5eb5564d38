//! One DICOM file of a series: what its header says, and its pixels.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::elements::{DataSet, PIXEL_DATA, Tag};
use super::geometry::dot;
use super::pixels;
use crate::data::DataError;
use crate::data::io::input::{DEFLATE_LARGEST_RATIO, Input};
use crate::data::io::scalar::{Scalar, Scaling};

/// Bytes of the file of a slice, at most: 8192 x 8192 pixels of 16 bits, four times the largest detectors.
const LONGEST_FILE: u64 = 1 << 27;
/// Longer files are read one at a time: slices are read on all cores, and memory is not to grow with their number.
const LONG_FILE: u64 = 1 << 23;
static LONG: Mutex<()> = Mutex::new(());

/// The attributes that make a volume of slices: their numbers and names in DICOM PS3.6.
mod attributes {
    use super::Attribute;
    pub(super) const SOP_CLASS_UID: Attribute = ((0x0008, 0x0016), "SOPClassUID");
    pub(super) const MODALITY: Attribute = ((0x0008, 0x0060), "Modality");
    pub(super) const SLICE_THICKNESS: Attribute = ((0x0018, 0x0050), "SliceThickness");
    pub(super) const SPACING_BETWEEN_SLICES: Attribute = ((0x0018, 0x0088), "SpacingBetweenSlices");
    pub(super) const SERIES_INSTANCE_UID: Attribute = ((0x0020, 0x000E), "SeriesInstanceUID");
    pub(super) const IMAGE_POSITION_PATIENT: Attribute = ((0x0020, 0x0032), "ImagePositionPatient");
    pub(super) const IMAGE_ORIENTATION_PATIENT: Attribute = ((0x0020, 0x0037), "ImageOrientationPatient");
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
}

/// Tag and name.
type Attribute = (Tag, &'static str);

/// What one file says.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) path: PathBuf,
    pub(super) series: String,
    /// Columns, rows.
    pub(super) extents: [usize; 2],
    /// Distance of neighbouring columns, of neighbouring rows, mm (`PixelSpacing` has them the other way round).
    pub(super) spacing: [f64; 2],
    /// Directions in LPS in which columns and rows rise.
    pub(super) directions: [[f64; 3]; 2],
    /// Position of the first pixel in LPS, mm.
    pub(super) position: [f64; 3],
    /// Distance to the next slice as the header has it, for a series of one.
    pub(super) thickness: Option<f64>,
    pub(super) scalar: Scalar,
    pub(super) scaling: Scaling,
    bits: Bits,
}

/// Where a sample lies in its cell.
#[derive(Clone, Copy, Debug)]
struct Bits {
    allocated: u32,
    stored: u32,
    high: u32,
    signed: bool,
}

/// What a file of a folder is.
#[derive(Debug)]
pub(super) enum Object {
    /// A slice of an image.
    Slice(Box<Slice>),
    /// No slice, but of this kind: a set of contours, a report, a presentation state, a segmentation, doses.
    Other(String),
}

/// Classes whose pixels are no slice of the series that they lie beside but derived from it, on a grid of their own: Segmentation,
/// Label Map Segmentation, RT Dose (PS3.4, B.5).
const DERIVED: [&str; 3] =
    ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.481.2"];

/// Lengths in a file, mm, at most: what is computed of them stays finite.
const MOST_MILLIMETRES: f64 = 1e9;

struct Attributes<'a> {
    path: &'a Path,
    file: &'a DataSet<'a>,
}

impl Attributes<'_> {
    fn wrong(&self, (_, field): Attribute, found: String, expected: &'static str) -> DataError {
        DataError::Header { path: self.path.to_path_buf(), field, found, expected }
    }

    /// All numbers of an attribute of decimal or integer strings; none if it is absent or empty.
    fn numbers(&self, attribute: Attribute) -> Result<Option<Vec<f64>>, DataError> {
        let text = self.file.text(attribute.0).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let numbers: Result<Vec<f64>, _> = text.split('\\').map(|number| number.trim().parse()).collect();
        numbers.map(Some).map_err(|_| self.wrong(attribute, format!("{text:?}"), "numbers"))
    }

    fn number(&self, attribute: Attribute) -> Result<Option<f64>, DataError> {
        Ok(self.numbers(attribute)?.and_then(|numbers| numbers.first().copied()))
    }

    fn several<const N: usize>(&self, attribute: Attribute, expected: &'static str) -> Result<[f64; N], DataError> {
        let numbers = self.numbers(attribute)?.ok_or_else(|| self.wrong(attribute, "absent".into(), expected))?;
        let wrong = || self.wrong(attribute, format!("{numbers:?}"), expected);
        let array: [f64; N] = numbers.as_slice().try_into().map_err(|_| wrong())?;
        if array.iter().all(|value| value.abs() <= MOST_MILLIMETRES) { Ok(array) } else { Err(wrong()) }
    }

    /// An unsigned number of 16 bits within a range.
    fn whole(
        &self,
        attribute: Attribute,
        range: std::ops::RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<u32, DataError> {
        let value = self.file.short(attribute.0).map(u32::from);
        let value = value.ok_or_else(|| self.wrong(attribute, "absent".into(), expected))?;
        if range.contains(&value) { Ok(value) } else { Err(self.wrong(attribute, value.to_string(), expected)) }
    }
}

impl Object {
    /// Reads the attributes of a file, not its pixels.
    pub(super) fn read(input: Input<'_>) -> Result<Object, DataError> {
        let path = input.path;
        let long = path.metadata().is_ok_and(|metadata| metadata.len() > LONG_FILE);
        let _alone = long.then(|| LONG.lock().unwrap_or_else(PoisonError::into_inner));
        let bytes = input.whole(LONGEST_FILE)?;
        let file = DataSet::read(path, &bytes)?;
        match kind_of_other(&file) {
            Some(kind) => Ok(Object::Other(kind)),
            None => Ok(Object::Slice(Box::new(Slice::of(path, &file, bytes.len() as u64)?))),
        }
    }
}

/// The kind of an object that is no slice. Without `Rows` it is no image; but only an object that says its kind and series is whole,
/// and no slice whose file was cut short.
fn kind_of_other(file: &DataSet<'_>) -> Option<String> {
    let class = file.text(attributes::SOP_CLASS_UID.0).unwrap_or_default();
    let modality = file.text(attributes::MODALITY.0).map(|text| plain(&text)).filter(|modality| !modality.is_empty());
    let image = file.has(PIXEL_DATA) || file.has(attributes::ROWS.0);
    let whole = file.has(attributes::SERIES_INSTANCE_UID.0) && (modality.is_some() || !class.is_empty());
    (DERIVED.contains(&class.as_str()) || !image && whole).then(|| modality.unwrap_or_else(|| plain(&class)))
}

/// The characters that names of kinds are made of, as many as they have: anything may stand in a file.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ' ')).take(64).collect()
}

impl Slice {
    fn of(path: &Path, file: &DataSet<'_>, length: u64) -> Result<Slice, DataError> {
        let of = Attributes { path, file };
        let frames = of.number(attributes::NUMBER_OF_FRAMES)?.unwrap_or(1.0);
        if frames != 1.0 {
            return Err(of.wrong(attributes::NUMBER_OF_FRAMES, frames.to_string(), "1: one slice per file"));
        }
        of.whole(attributes::SAMPLES_PER_PIXEL, 1..=1, "1: one number per pixel")?;
        let rows = of.whole(attributes::ROWS, 1..=65535, "1 to 65535")?;
        let columns = of.whole(attributes::COLUMNS, 1..=65535, "1 to 65535")?;
        let positive = "two positive numbers of mm";
        let [row_spacing, column_spacing] = of.several(attributes::PIXEL_SPACING, positive)?;
        if row_spacing <= 0.0 || column_spacing <= 0.0 {
            return Err(of.wrong(attributes::PIXEL_SPACING, format!("{row_spacing}, {column_spacing}"), positive));
        }
        let cosines: [f64; 6] = of.several(attributes::IMAGE_ORIENTATION_PATIENT, "two unit vectors")?;
        let directions = [[cosines[0], cosines[1], cosines[2]], [cosines[3], cosines[4], cosines[5]]];
        let unit = |a| (dot(a, a) - 1.0).abs() < 1e-3;
        // Cosines are printed with as few as four digits.
        if !unit(directions[0]) || !unit(directions[1]) || dot(directions[0], directions[1]).abs() > 1e-3 {
            let expected = "two unit vectors at right angles";
            return Err(of.wrong(attributes::IMAGE_ORIENTATION_PATIENT, format!("{cosines:?}"), expected));
        }
        let position = of.several(attributes::IMAGE_POSITION_PATIENT, "three numbers of mm")?;
        let bits = bits_of(&of)?;
        check_size(path, length, u64::from(rows) * u64::from(columns) * u64::from(bits.allocated / 8))?;
        let scalar = match (bits.allocated, bits.signed) {
            (8, false) => Scalar::Uint8,
            (8, true) => Scalar::Int8,
            (_, false) => Scalar::Uint16,
            (_, true) => Scalar::Int16,
        };
        let slope = of.number(attributes::RESCALE_SLOPE)?.unwrap_or(1.0);
        let intercept = of.number(attributes::RESCALE_INTERCEPT)?.unwrap_or(0.0);
        if slope == 0.0 || !slope.is_finite() || !intercept.is_finite() {
            return Err(of.wrong(attributes::RESCALE_SLOPE, slope.to_string(), "a finite number that is not 0"));
        }
        let thickness = match of.number(attributes::SPACING_BETWEEN_SLICES)? {
            None => of.number(attributes::SLICE_THICKNESS)?,
            stated => stated,
        };
        Ok(Slice {
            path: path.to_path_buf(),
            series: file.text(attributes::SERIES_INSTANCE_UID.0).unwrap_or_default(),
            extents: [columns as usize, rows as usize],
            spacing: [column_spacing, row_spacing],
            directions,
            position,
            thickness: thickness.filter(|value| *value > 0.0 && *value <= MOST_MILLIMETRES),
            scalar,
            scaling: Scaling { slope, intercept },
            bits,
        })
    }

    /// The stored numbers of all pixels, x fastest, in the type [`Slice::scalar`], little endian.
    pub(super) fn pixels(&self, input: Input<'_>) -> Result<Vec<u8>, DataError> {
        let path = &self.path;
        let bytes = input.beside(path).whole(LONGEST_FILE)?;
        let file = DataSet::read(path, &bytes)?;
        let cells = pixels::decode(path, &file, self.extents, self.scalar.bytes())?;
        Ok(self.samples(&cells))
    }

    /// The samples of cells; both little endian.
    fn samples(&self, cells: &[u8]) -> Vec<u8> {
        if self.bits.allocated == 8 {
            return cells.iter().map(|&cell| self.bits.sample(u32::from(cell)) as u8).collect();
        }
        let (cells, _) = cells.as_chunks::<2>();
        let sample = |cell: &[u8; 2]| self.bits.sample(u32::from(u16::from_le_bytes(*cell))) as u16;
        cells.iter().flat_map(|cell| sample(cell).to_le_bytes()).collect()
    }
}

/// Refuses pixels that no coding could have packed into a file of this length: run lengths expand by 64, JPEG by 512 (a
/// bit for a block of 8 x 8), deflate by the most of all.
fn check_size(path: &Path, length: u64, needed: u64) -> Result<(), DataError> {
    let most = length.saturating_mul(DEFLATE_LARGEST_RATIO);
    if needed <= most { Ok(()) } else { Err(DataError::truncated(path, needed, most)) }
}

impl Bits {
    /// The sample in a cell as two's complement of 32 bits: bits beside it may hold an overlay.
    fn sample(self, cell: u32) -> u32 {
        let left = 31 - self.high;
        let aligned = cell << left;
        let right = 32 - self.stored;
        if self.signed { (aligned.cast_signed() >> right).cast_unsigned() } else { aligned >> right }
    }
}

fn bits_of(of: &Attributes<'_>) -> Result<Bits, DataError> {
    let expected = "8 or 16";
    let allocated = of.whole(attributes::BITS_ALLOCATED, 8..=16, expected)?;
    if allocated != 8 && allocated != 16 {
        return Err(of.wrong(attributes::BITS_ALLOCATED, allocated.to_string(), expected));
    }
    let stored = of.whole(attributes::BITS_STORED, 1..=allocated, "1 to BitsAllocated")?;
    let high = of.whole(attributes::HIGH_BIT, stored - 1..=allocated - 1, "BitsStored - 1 to BitsAllocated - 1")?;
    let signed = of.whole(attributes::PIXEL_REPRESENTATION, 0..=1, "0 or 1")? == 1;
    Ok(Bits { allocated, stored, high, signed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_cut_out_of_their_cells() {
        let unsigned = Bits { allocated: 16, stored: 12, high: 11, signed: false };
        assert_eq!(unsigned.sample(0xF123), 0x123);
        let signed = Bits { signed: true, ..unsigned };
        assert_eq!(signed.sample(0x1FFF) as i32, -1);
        assert_eq!(signed.sample(0x17FF) as i32, 2047);
        let shifted = Bits { allocated: 16, stored: 12, high: 15, signed: true };
        assert_eq!(shifted.sample(0x8000) as i32, -2048);
        let whole = Bits { allocated: 8, stored: 8, high: 7, signed: false };
        assert_eq!(whole.sample(0xFE), 0xFE);
    }
}
