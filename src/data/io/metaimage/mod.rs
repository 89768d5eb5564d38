//! MetaImage, ITK's own format: a text header (`.mhd`) and a file of voxels, or both in one (`.mha`).
//!
//! Definition: <https://itk.org/Wiki/ITK/MetaIO/Documentation>; where it leaves something open, as MetaIO and
//! `itk::MetaImageIO` read it. Row i of `TransformMatrix` is the direction of voxel axis i in LPS (x to the patient's
//! Left, y Posterior, z Superior), `Offset` the position of the first voxel:
//!
//! ```text
//! lps = Offset + Σ_i index_i · ElementSpacing_i · TransformMatrix[i]        ras = (-lps_x, -lps_y, lps_z)
//! ```
//!
//! Read: every scalar type, both byte orders, compressed (zlib or gzip) or not, `HeaderSize` (also -1), one file of
//! voxels, several channels (`ElementNumberOfChannels`, or a fourth axis). Refused: text voxels (`BinaryData = False`), lists of
//! files, spacings that are not positive. A missing `TransformMatrix` or `ElementSpacing` is the identity or 1, with a warning. `CenterOfRotation`
//! and `AnatomicalOrientation` do not matter, as in ITK.

mod text;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::text::Text;
use super::bytes::ByteOrder;
use super::format::{Ending, Format, Part, Writer};
use super::input::{Input, Packing, Place};
use super::scalar::Scalar;
use super::{Header, Native, Pieces, axes, is_of_map};
use crate::data::{DataError, Warning};

/// MetaIO's names of the types; a `LONG` has 4 bytes on every platform.
const TYPE_NAMES: [(&str, Scalar); 12] = [
    ("MET_UCHAR", Scalar::Uint8),
    ("MET_CHAR", Scalar::Int8),
    ("MET_USHORT", Scalar::Uint16),
    ("MET_SHORT", Scalar::Int16),
    ("MET_UINT", Scalar::Uint32),
    ("MET_INT", Scalar::Int32),
    ("MET_ULONG_LONG", Scalar::Uint64),
    ("MET_LONG_LONG", Scalar::Int64),
    ("MET_FLOAT", Scalar::Float32),
    ("MET_DOUBLE", Scalar::Float64),
    ("MET_ULONG", Scalar::Uint32),
    ("MET_LONG", Scalar::Int32),
];

const ENDINGS: [Ending; 6] = [
    Ending::new(".mha", Part::Whole),
    Ending::new(".mhd", Part::Header),
    Ending::new(".raw", Part::Bare),
    Ending::new(".zraw", Part::Bare),
    Ending::new(".raw.gz", Part::Bare),
    Ending::new(".bin", Part::Bare),
];

/// The format.
pub(super) struct MetaImage;

impl Format for MetaImage {
    fn name(&self) -> &'static str {
        "MetaImage"
    }

    fn endings(&self) -> &'static [Ending] {
        &ENDINGS
    }

    fn has_text_header(&self) -> bool {
        true
    }

    fn read_header(&self, input: Input<'_>) -> Result<Header, DataError> {
        let text = Text::read(input)?;
        if let Some(kind) = text.value("ObjectType").filter(|kind| *kind != "Image") {
            return Err(text.wrong("ObjectType", format!("{kind:?}"), "Image"));
        }
        let mut shape = shape_of(&text)?;
        let scalar = scalar_of(&text)?;
        let axes = shape.len();
        let (affine, stated, mut warnings) = geometry_of(&text, axes)?;
        if !axes::is_regular(&affine) {
            let found = format!("{affine:?} (as an affine to RAS)");
            return Err(text.wrong("TransformMatrix", found, "three independent finite axes"));
        }
        let spacing = axes::spacing_of(&affine, stated, axes);
        warnings.extend(axes::warnings_of(&affine, stated, axes));
        if text.value("ElementToIntensityFunctionSlope").is_some() {
            warnings.push(Warning::new("ElementToIntensityFunctionSlope is not applied, as in ITK"));
        }
        let [first, second] = ["ElementByteOrderMSB", "BinaryDataByteOrderMSB"].map(|key| text.flag(key));
        let byte_order = match first?.map_or(second, |big| Ok(Some(big)))? {
            Some(true) => ByteOrder::Big,
            _ => ByteOrder::Little,
        };
        let channels = channels_of(&text)?;
        let interleaved = channels > 1;
        if interleaved {
            // The channels follow z, also where there is none.
            shape.resize(axes.max(3), 1);
            shape.push(channels);
        }
        let native = Arc::new(storage_of(&text, input.path)?);
        Ok(Header { shape, interleaved, scalar, byte_order, scaling: None, spacing, affine, warnings, native })
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        write::files_of(path)
    }

    fn writer(&self) -> Option<Writer> {
        Some(write::write)
    }
}

/// Where the voxels are.
#[derive(Clone, Debug)]
struct Storage {
    file: PathBuf,
    /// First byte of the voxels; none: they are the end of the file.
    start: Option<u64>,
    /// Voxels are one zlib or gzip stream.
    compressed: bool,
    /// Length of that stream; none: up to the end of the file.
    packed: Option<u64>,
    /// The header says that the voxels are the probabilities of a class.
    probability: bool,
}

fn shape_of(text: &Text) -> Result<Vec<usize>, DataError> {
    let expected = "1 to 7 axes";
    let axes: usize = text.numbers(&["NDims"], 1, expected)?.ok_or_else(|| text.absent("NDims", expected))?[0];
    if !(1..=7).contains(&axes) {
        return Err(text.wrong("NDims", axes.to_string(), expected));
    }
    let expected = "one extent of 1 or more per axis";
    let shape: Vec<usize> =
        text.numbers(&["DimSize"], axes, expected)?.ok_or_else(|| text.absent("DimSize", expected))?;
    if shape.contains(&0) {
        return Err(text.wrong("DimSize", format!("{shape:?}"), expected));
    }
    Ok(shape)
}

fn scalar_of(text: &Text) -> Result<Scalar, DataError> {
    let expected = "a scalar type such as MET_UCHAR, MET_SHORT or MET_FLOAT";
    let name = text.value("ElementType").ok_or_else(|| text.absent("ElementType", expected))?;
    let scalar = TYPE_NAMES.iter().find(|(known, _)| *known == name).map(|(_, scalar)| *scalar);
    scalar.ok_or_else(|| text.wrong("ElementType", format!("{name:?}"), expected))
}

/// Numbers per voxel. Colours are three of them: MetaImage has no other sign of a colour.
fn channels_of(text: &Text) -> Result<usize, DataError> {
    let (key, expected) = ("ElementNumberOfChannels", "1 or more numbers per voxel");
    match text.numbers(&[key], 1, expected)?.map_or(1, |channels| channels[0]) {
        0 => Err(text.wrong(key, "0".into(), expected)),
        channels => Ok(channels),
    }
}

/// Affine to RAS, spacing as it is stated, and what is missing.
type Geometry = ([[f64; 4]; 3], [f64; 3], Vec<Warning>);

fn geometry_of(text: &Text, axes: usize) -> Result<Geometry, DataError> {
    let mut warnings = Vec::new();
    let expected = "one positive number of mm per axis";
    let spacing = text.numbers::<f64>(&["ElementSpacing", "ElementSize"], axes, expected)?.unwrap_or_else(|| {
        warnings.push(Warning::new("ElementSpacing is absent: taken as 1 mm"));
        vec![1.0; axes]
    });
    if spacing.iter().any(|value| !(value.is_finite() && *value > 0.0)) {
        return Err(text.wrong("ElementSpacing", format!("{spacing:?}"), expected));
    }
    let keys = ["TransformMatrix", "Rotation", "Orientation"];
    let matrix = text.numbers::<f64>(&keys, axes * axes, "as many numbers as axes times axes")?;
    let matrix = matrix.unwrap_or_else(|| {
        let kind = "TransformMatrix is absent: x is taken to the left, y to posterior, z to superior";
        warnings.push(Warning::new(kind));
        (0..axes * axes).map(|at| if at / axes == at % axes { 1.0 } else { 0.0 }).collect()
    });
    let offset = text.numbers::<f64>(&["Offset", "Position", "Origin"], axes, "one number of mm per axis")?;
    let offset = offset.unwrap_or_else(|| vec![0.0; axes]);
    let entry = |row: usize, column: usize| match column {
        3 => offset.get(row).copied().unwrap_or(0.0),
        axis if axis < axes && row < axes => matrix[axis * axes + row] * spacing[axis],
        axis => f64::from(u8::from(axis == row)),
    };
    let affine = std::array::from_fn(|row| std::array::from_fn(|column| entry(row, column)));
    let three = std::array::from_fn(|axis| spacing.get(axis).copied().unwrap_or(1.0));
    Ok((axes::ras_from_lps(affine), three, warnings))
}

fn storage_of(text: &Text, path: &Path) -> Result<Storage, DataError> {
    if text.flag("BinaryData")? == Some(false) {
        return Err(text.wrong("BinaryData", "False (voxels as text)".into(), "True"));
    }
    let name = text.value("ElementDataFile").expect("the header ends with it");
    let local = name.eq_ignore_ascii_case("LOCAL");
    if name.is_empty() || name.starts_with("LIST") || name.contains('%') {
        return Err(text.wrong("ElementDataFile", format!("{name:?}"), "LOCAL or the name of one file"));
    }
    let file = if local { path.to_path_buf() } else { path.with_file_name(name) };
    let compressed = text.flag("CompressedData")?.unwrap_or(false);
    let expected = "0, a number of bytes, or -1 (voxels are the end of an uncompressed file)";
    let start = match text.numbers::<i64>(&["HeaderSize"], 1, expected)?.map_or(0, |size| size[0]) {
        0 => Some(if local { text.length } else { 0 }),
        -1 if !compressed => None,
        size => Some(u64::try_from(size).map_err(|_| text.wrong("HeaderSize", size.to_string(), expected))?),
    };
    let packed = text.numbers::<u64>(&["CompressedDataSize"], 1, "a number of bytes")?.map(|size| size[0]);
    // MetaIO writes 0 where it does not know.
    let probability = text.value("Comment").is_some_and(is_of_map);
    Ok(Storage { file, start, compressed, packed: packed.filter(|&size| size > 0), probability })
}

impl Native for Storage {
    fn visit(&self, input: Input<'_>, header: &Header, each: Pieces<'_>) -> Result<(), DataError> {
        let count = header.voxel_bytes(input.path, "DimSize")?;
        let packing = if self.compressed { Packing::Deflated(self.packed) } else { Packing::Plain };
        let place = Place { file: self.file.clone(), start: self.start, skip: 0, count, packing };
        place.visit(input, header.encoding(), each)
    }

    fn voxel_files(&self) -> Vec<PathBuf> {
        vec![self.file.clone()]
    }

    fn is_probability(&self) -> bool {
        self.probability
    }
}
