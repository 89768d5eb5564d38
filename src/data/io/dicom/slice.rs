//! One slice of a volume, a DICOM file or a frame of one: what its header says, and its samples.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attributes::{self, Attributes, MOST_MILLIMETRES};
use super::dataset::DataSet;
use super::elements::PIXEL_DATA;
use super::frames::{self, Fact};
use super::geometry::dot;
use super::series::Info;
use crate::data::DataError;
use crate::data::io::input::{DEFLATE_LARGEST_RATIO, Input};
use crate::data::io::name_of;
use crate::data::io::scalar::{Scalar, Scaling};

/// Bytes of a file, at most: a thousand frames of 1024 x 1024 pixels of 16 bits. DICOM itself ends at twice as many.
const LONGEST_FILE: u64 = 1 << 31;
/// Longer files are read one at a time: slices are read on all cores, and memory is not to grow with their number.
const LONG_FILE: u64 = 1 << 23;
static LONG: Mutex<()> = Mutex::new(());

/// Where a slice is: a file, a frame of it from 0, and how many frames it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) path: Arc<Path>,
    pub(super) frame: usize,
    pub(super) frames: usize,
}

/// What a file says of one slice.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) place: Place,
    pub(super) series: Arc<Info>,
    /// By what it may differ from another frame at its place; none of a slice in a file of its own.
    pub(super) facts: Vec<Fact>,
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
    /// A slice of an image, or several frames.
    Slices(Vec<Slice>),
    /// No slice, but of this kind: a set of contours, a report, a presentation state, a segmentation, doses.
    Other(String),
}

/// Classes whose pixels are no slice of the series that they lie beside but derived from it, on a grid of their own: Segmentation,
/// Label Map Segmentation, RT Dose (PS3.4, B.5).
const DERIVED: [&str; 3] =
    ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.481.2"];

/// A file that is alone in memory while this lives.
type Alone = Option<MutexGuard<'static, ()>>;

/// Reads a file whole, of which so many bytes of pixels are made. One that is much longer is alone in memory.
pub(super) fn whole(input: Input<'_>, made: u64) -> Result<(Cow<'_, [u8]>, Alone), DataError> {
    let long = input.path.metadata().is_ok_and(|metadata| metadata.len() > LONG_FILE.saturating_add(made));
    let alone = long.then(|| LONG.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((input.whole(LONGEST_FILE)?, alone))
}

impl Object {
    /// Reads the attributes of a file, not its pixels. An error comes with its series, where the file says it.
    pub(super) fn read(input: Input<'_>) -> Result<Object, (Option<Arc<Info>>, DataError)> {
        let path = input.path;
        let (bytes, _alone) = whole(input, 0).map_err(|error| (None, error))?;
        let file = DataSet::read(path, &bytes).map_err(|error| (None, error))?;
        if let Some(kind) = kind_of_other(&file) {
            return Ok(Object::Other(kind));
        }
        let (info, length) = (Arc::new(Info::of(&file)), bytes.len() as u64);
        let slices = if frames::has_frames(&file) {
            frames::slices_of(path, &file, &info, length)
        } else {
            let of = Attributes { path, file: &file, frame: [None, None] };
            let place = Place { path: path.into(), frame: 0, frames: 1 };
            check_one_frame(&of).and_then(|()| Slice::of(&of, place, info.clone(), length)).map(|slice| vec![slice])
        };
        let said = file.has(attributes::SERIES_INSTANCE_UID.0).then_some(info);
        slices.map(Object::Slices).map_err(|error| (said, error))
    }
}

fn check_one_frame(of: &Attributes<'_>) -> Result<(), DataError> {
    let frames = of.number(attributes::NUMBER_OF_FRAMES)?.unwrap_or(1.0);
    let expected = "1: one slice per file, or frames with PerFrameFunctionalGroupsSequence";
    if frames == 1.0 { Ok(()) } else { Err(of.wrong(attributes::NUMBER_OF_FRAMES, frames.to_string(), expected)) }
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
    /// What the attributes say of a slice in a file of this length.
    pub(super) fn of(of: &Attributes<'_>, place: Place, series: Arc<Info>, length: u64) -> Result<Slice, DataError> {
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
        let bits = bits_of(of)?;
        let pixels = u64::from(rows) * u64::from(columns) * place.frames as u64;
        check_size(of.path, length, pixels * u64::from(bits.allocated / 8))?;
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
            place,
            series,
            facts: Vec::new(),
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

    /// Bytes of the pixels of all frames of its file.
    pub(super) fn bytes_of_file(&self) -> u64 {
        (self.extents[0] * self.extents[1] * self.scalar.bytes()) as u64 * self.place.frames as u64
    }

    /// The slice for a message: the name of its file, and the frame where there are several.
    pub(super) fn name(&self) -> String {
        let Place { path, frame, frames } = &self.place;
        let name = name_of(path);
        if *frames == 1 { name } else { format!("frame {} of {name}", frame + 1) }
    }

    /// The samples of cells; both little endian.
    pub(super) fn samples(&self, cells: &[u8]) -> Vec<u8> {
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
