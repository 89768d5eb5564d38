//! NRRD, the format of teem and 3D Slicer: a text header and voxels in one file (`.nrrd`), or in others (`.nhdr`).
//!
//! Definition: <https://teem.sourceforge.net/nrrd/format.html>; where it leaves something open, as `itk::NrrdImageIO` reads it.
//! Column i of the affine is the direction of axis i, from the `space` of the file to RAS; the first voxel is at
//! `space origin`.
//!
//! Read: every scalar type by all its names, both byte orders; encodings raw, gzip and ascii; `line skip` and `byte skip` (also
//! -1); one data file, a `LIST` of them or a numbered pattern; RAS, LAS and LPS, with or without a time; `space units`. An axis
//! without a direction (`none`), or of another kind than `domain` and `space`, holds channels and is the first or the last.
//! Refused: encodings bzip2, hex and zrl, blocks. `measurement frame`, `thicknesses`, `axis mins`, `centers` and the like do not
//! matter. Segmentations of 3D Slicer: `segments`.

mod geometry;
mod segments;
mod storage;
mod text;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::geometry::{Geometry, sizes_of};
use self::segments::Segments;
use self::storage::Storage;
use self::text::Text;
use super::Header;
use super::bytes::ByteOrder;
use super::format::{Ending, Format, Part, Writer};
use super::input::Input;
use super::scalar::{Encoding, Scalar};
use crate::data::{DataError, Warning};

/// The names of the types, of which the first of each is written.
const TYPE_NAMES: [(&[&str], Scalar); 10] = [
    (&["signed char", "int8", "int8_t"], Scalar::Int8),
    (&["unsigned char", "uchar", "uint8", "uint8_t"], Scalar::Uint8),
    (&["short", "short int", "signed short", "signed short int", "int16", "int16_t"], Scalar::Int16),
    (&["unsigned short", "ushort", "unsigned short int", "uint16", "uint16_t"], Scalar::Uint16),
    (&["int", "signed int", "int32", "int32_t"], Scalar::Int32),
    (&["unsigned int", "uint", "uint32", "uint32_t"], Scalar::Uint32),
    (
        &["long long int", "longlong", "long long", "signed long long", "signed long long int", "int64", "int64_t"],
        Scalar::Int64,
    ),
    (&["unsigned long long int", "ulonglong", "unsigned long long", "uint64", "uint64_t"], Scalar::Uint64),
    (&["float"], Scalar::Float32),
    (&["double"], Scalar::Float64),
];

const ENDINGS: [Ending; 5] = [
    Ending::new(".nrrd", Part::Whole),
    Ending::new(".nhdr", Part::Header),
    // What 3D Slicer appends to the name of a segmentation is no part of the name of a case.
    Ending::new(SEGMENTATION, Part::Whole),
    Ending::new(".raw", Part::Bare),
    Ending::new(".raw.gz", Part::Bare),
];

/// The ending of a segmentation of 3D Slicer.
const SEGMENTATION: &str = ".seg.nrrd";

/// The format.
pub(super) struct Nrrd;

impl Format for Nrrd {
    fn name(&self) -> &'static str {
        "NRRD"
    }

    fn endings(&self) -> &'static [Ending] {
        &ENDINGS
    }

    fn has_text_header(&self) -> bool {
        true
    }

    fn names_segments(&self) -> bool {
        true
    }

    fn read_header(&self, input: Input<'_>) -> Result<Header, DataError> {
        let text = Text::read(input)?;
        let sizes = sizes_of(&text)?;
        let scalar = scalar_of(&text)?;
        let byte_order = order_of(&text, scalar)?;
        let Geometry { mut shape, interleaved, affine, spacing, mut warnings } = Geometry::of(&text, &sizes)?;
        let layers = shape.iter().skip(3).try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let layers = layers.ok_or_else(|| text.wrong("sizes", format!("{sizes:?}"), "fewer layers"))?;
        let segments = Segments::of(input.path, &text, layers)?;
        let stored = Encoding { scalar, order: byte_order, scaling: None };
        let mut header_scalar = scalar;
        if segments.are_merged() {
            shape.truncate(3);
            header_scalar = Scalar::Uint16;
            let kind = "the layers of the segmentation are read as one label map";
            warnings.push(Warning::information(kind, format!("{layers} layers")));
        }
        let native = Arc::new(Storage::of(&text, input.path, stored, &sizes, segments)?);
        let scalar = header_scalar;
        Ok(Header { shape, interleaved, scalar, byte_order, scaling: None, spacing, affine, warnings, native })
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        write::files_of(path)
    }

    fn writer(&self) -> Option<Writer> {
        Some(write::write)
    }
}

fn scalar_of(text: &Text) -> Result<Scalar, DataError> {
    let expected = "a scalar type such as uchar, short or float";
    let name = text.field("type").ok_or_else(|| text.absent("type", expected))?;
    let words = name.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let known = TYPE_NAMES.iter().find(|(names, _)| names.contains(&words.as_str()));
    known.map(|(_, scalar)| *scalar).ok_or_else(|| text.wrong_value("type", name, expected))
}

fn order_of(text: &Text, scalar: Scalar) -> Result<ByteOrder, DataError> {
    let expected = "little or big";
    match text.field("endian").map(str::to_ascii_lowercase).as_deref() {
        Some("little") => Ok(ByteOrder::Little),
        Some("big") => Ok(ByteOrder::Big),
        Some(other) => Err(text.wrong_value("endian", other, expected)),
        // Bytes and texts have no order.
        None if scalar.bytes() == 1 => Ok(ByteOrder::Little),
        None if text.field("encoding").is_some_and(|coding| !matches!(coding, "raw" | "gzip" | "gz")) => {
            Ok(ByteOrder::Little)
        }
        None => Err(text.absent("endian", expected)),
    }
}
