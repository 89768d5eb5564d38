//! NIfTI-1 and NIfTI-2: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs, both byte orders.
//!
//! Read here rather than through a library, because every promise of a header is checked against
//! the length of the file before memory is asked for, NIfTI-2 is read, and the header's bytes are
//! kept for the output.
//!
//! As nibabel: slope 0, NaN or infinite means no scaling; zero spacings count as 1 and negative
//! ones as positive; `affine.rs` has the geometry. As ITK: lengths in metres and micrometres are converted to
//! millimetres; extents of 0 after the third axis are ignored. Extensions are skipped.

mod affine;
mod header;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use write::header_for_grid;

use self::affine::Source;
use self::header::{Field, NotNifti, RawHeader, Version};
use super::format::{Ending, Format, Part, Writer, split_ending};
use super::input::{Input, Packing, Place};
use super::scalar::{Scalar, Scaling};
use super::{Header, Native, OtherAffine, Pieces, Statement, axes, is_of_map, name_of};
use crate::data::{DataError, Grid, Warning};

/// NIfTI's codes of the types (nifti1.h, NIFTI_TYPE_*).
const TYPE_CODES: [(i64, Scalar); 16] = [
    (2, Scalar::Uint8),
    (4, Scalar::Int16),
    (8, Scalar::Int32),
    (16, Scalar::Float32),
    (32, Scalar::Complex64),
    (64, Scalar::Float64),
    (128, Scalar::Rgb24),
    (256, Scalar::Int8),
    (512, Scalar::Uint16),
    (768, Scalar::Uint32),
    (1024, Scalar::Int64),
    (1280, Scalar::Uint64),
    (1536, Scalar::Float128),
    (1792, Scalar::Complex128),
    (2048, Scalar::Complex256),
    (2304, Scalar::Rgba32),
];
/// Codes in the low three bits of `xyzt_units` (nifti1.h, NIFTI_UNITS_*); 0 is unknown.
const UNIT_METRE: i64 = 1;
const UNIT_MILLIMETRE: i64 = 2;
const UNIT_MICRON: i64 = 3;

const ENDINGS: [Ending; 6] = [
    Ending::new(".nii", Part::Whole),
    Ending::new(".nii.gz", Part::Whole),
    Ending::new(".hdr", Part::Header),
    Ending::new(".img", Part::Half),
    Ending::new(".hdr.gz", Part::Header).unlisted(),
    Ending::new(".img.gz", Part::Half).unlisted(),
];

/// The format.
pub(super) struct Nifti;

impl Format for Nifti {
    fn name(&self) -> &'static str {
        "NIfTI"
    }

    fn endings(&self) -> &'static [Ending] {
        &ENDINGS
    }

    fn read_header(&self, input: Input<'_>) -> Result<Header, DataError> {
        let (header_file, _) = files_of(input.path);
        let start = input.beside(&header_file).start(Version::Two.size() as u64, Packing::Detect)?;
        let raw = RawHeader::parse(&start).map_err(|reason| not_nifti(&header_file, start.len(), &reason))?;
        let wrong = |field, found, expected| DataError::Header { path: header_file.clone(), field, found, expected };

        let shape = shape_of(&raw).map_err(|found| wrong("dim", found, "1 to 7 axes of extent 1 or more"))?;
        let code = raw.integer(Field::DATATYPE, 0);
        let scalar =
            TYPE_CODES.iter().find(|(known, _)| *known == code).map(|(_, scalar)| *scalar).ok_or_else(|| {
                wrong("datatype", code.to_string(), "a NIfTI type code such as 2 (uint8), 4 (int16) or 16 (float32)")
            })?;
        let scaling = scaling_of(&raw).map_err(|found| wrong("scl_inter", found, "a finite number"))?;
        let affine = in_mm(affine::best(&raw, &shape), &raw);
        if !axes::is_regular(&affine) {
            return Err(wrong(
                "the affine (sform, qform or pixdim)",
                format!("{affine:?}"),
                "three independent finite axes",
            ));
        }
        let stated = affine::spacing(&raw).map(|length| length * millimetres(&raw));
        let spacing = axes::spacing_of(&affine, stated, shape.len());
        if spacing.iter().any(|value| !value.is_finite()) {
            return Err(wrong("pixdim", format!("{spacing:?}"), "finite spacings in mm"));
        }
        let warnings = warnings_of(&raw, &shape, &affine, stated);
        let (byte_order, interleaved) = (raw.order, false);
        let native = Arc::new(raw);
        Ok(Header { shape, interleaved, scalar, byte_order, scaling, spacing, affine, warnings, native })
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        let (header, voxels) = files_of(path);
        if header == voxels { vec![header] } else { vec![voxels, header] }
    }

    fn writer(&self) -> Option<Writer> {
        Some(write::write)
    }
}

impl Native for RawHeader {
    fn visit(&self, input: Input<'_>, header: &Header, each: Pieces<'_>) -> Result<(), DataError> {
        place_of(input.path, header, self)?.visit(input, header.encoding(), each)
    }

    fn other_affines(&self) -> Vec<OtherAffine> {
        let other = |affine, statement| vec![OtherAffine { affine: in_mm(affine, self), statement }];
        match affine::source(self) {
            Source::Sform if self.integer(Field::QFORM_CODE, 0) > 0 => other(affine::qform(self), Statement::Qform),
            Source::Guess => other(affine::at_origin(self), Statement::Assumed),
            Source::Sform | Source::Qform => Vec::new(),
        }
    }

    fn is_probability(&self) -> bool {
        std::str::from_utf8(self.description()).is_ok_and(is_of_map)
    }
}

/// The header file and the voxel file that a path refers to: the same for `.nii`; of a pair either
/// may be named.
fn files_of(path: &Path) -> (PathBuf, PathBuf) {
    let name = name_of(path);
    let both = (path.to_path_buf(), path.to_path_buf());
    let Some((stem, ending)) = split_ending(&name) else { return both };
    let other = |kind: &str| {
        // The case of the ending is kept: A.HDR belongs to A.IMG.
        let upper = ending.starts_with(".H") || ending.starts_with(".I");
        let kind = if upper { kind.to_uppercase() } else { kind.to_owned() };
        path.with_file_name(format!("{stem}.{kind}{}", &ending[4..]))
    };
    match ending[..4].to_ascii_lowercase().as_str() {
        ".hdr" => (both.0, other("img")),
        ".img" => (other("hdr"), both.1),
        _ => both,
    }
}

fn not_nifti(path: &Path, length: usize, reason: &NotNifti) -> DataError {
    let (field, found, expected) = match reason {
        NotNifti::Size(found) => ("sizeof_hdr", found.to_string(), "348 (NIfTI-1) or 540 (NIfTI-2)"),
        NotNifti::Magic(magic) if magic.iter().all(|&byte| byte == 0) => {
            ("magic", "empty (ANALYZE 7.5)".into(), "n+1, ni1, n+2 or ni2 (NIfTI)")
        }
        NotNifti::Magic(magic) => ("magic", format!("{:?}", String::from_utf8_lossy(magic)), "n+1, ni1, n+2 or ni2"),
        NotNifti::Short(version) => {
            return DataError::truncated(path, version.size() as u64, length as u64);
        }
    };
    DataError::Header { path: path.to_path_buf(), field, found, expected }
}

/// Millimetres of a unit of length of the file; of an unknown unit 1.
fn millimetres(raw: &RawHeader) -> f64 {
    match unit(raw) {
        UNIT_METRE => 1e3,
        UNIT_MICRON => 1e-3,
        _ => 1.0,
    }
}

fn unit(raw: &RawHeader) -> i64 {
    raw.integer(Field::XYZT_UNITS, 0) & 0b111
}

fn in_mm(affine: [[f64; 4]; 3], raw: &RawHeader) -> [[f64; 4]; 3] {
    affine.map(|row| row.map(|value| value * millimetres(raw)))
}

/// The extents, or dim as text if it cannot be right. Extents of 0 after the third axis are ignored, as in nifti1_io and ITK.
fn shape_of(raw: &RawHeader) -> Result<Vec<usize>, String> {
    let dim: [i64; 8] = std::array::from_fn(|index| raw.integer(Field::DIM, index));
    let wrong = || format!("{dim:?}");
    let axes = usize::try_from(dim[0]).ok().filter(|axes| (1..=7).contains(axes)).ok_or_else(wrong)?;
    let last =
        dim[1..=axes].iter().rposition(|&extent| extent != 0).map_or(axes, |last| axes.min(last + 1).max(axes.min(3)));
    let extent = |(axis, &extent): (usize, &i64)| match extent {
        0 if axis >= 3 => Ok(1),
        extent => usize::try_from(extent).ok().filter(|&e| e > 0).ok_or_else(wrong),
    };
    dim[1..=last].iter().enumerate().map(extent).collect()
}

fn scaling_of(raw: &RawHeader) -> Result<Option<Scaling>, String> {
    let (slope, intercept) = (raw.float(Field::SCL_SLOPE, 0), raw.float(Field::SCL_INTER, 0));
    if slope == 0.0 || !slope.is_finite() {
        return Ok(None);
    }
    if !intercept.is_finite() {
        return Err(intercept.to_string());
    }
    let identity = slope == 1.0 && intercept == 0.0;
    Ok((!identity).then_some(Scaling { slope, intercept }))
}

fn warnings_of(raw: &RawHeader, shape: &[usize], affine: &[[f64; 4]; 3], stated: [f64; 3]) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = place_warning(raw, shape).into_iter().collect();
    let present = 1..=shape.len().min(3);
    let source = affine::source(raw);
    if source != Source::Sform && present.clone().any(|index| raw.float(Field::PIXDIM, index) == 0.0) {
        warnings.push(Warning::new("a spacing in pixdim is zero: taken as 1"));
    }
    if present.into_iter().any(|index| raw.float(Field::PIXDIM, index) < 0.0) {
        warnings.push(Warning::information("a spacing in pixdim is negative: taken as positive", ""));
    }
    warnings.extend(match unit(raw) {
        0 | UNIT_MILLIMETRE => None,
        UNIT_METRE => Some(Warning::new("lengths are in metres (xyzt_units): converted to mm")),
        UNIT_MICRON => Some(Warning::new("lengths are in micrometres (xyzt_units): converted to mm")),
        other => Some(Warning::with("xyzt_units has no known unit of length: taken as mm", format!("code {other}"))),
    });
    // As it stands, with its zeros; where there is no sform, the affine is made of what they are taken as.
    let stated = match source {
        Source::Sform => std::array::from_fn(|axis| raw.float(Field::PIXDIM, axis + 1).abs() * millimetres(raw)),
        Source::Qform | Source::Guess => stated,
    };
    warnings.extend(axes::warnings_of(affine, stated, shape.len()));
    warnings
}

/// What is odd about where the file lies.
fn place_warning(raw: &RawHeader, shape: &[usize]) -> Option<Warning> {
    let kind = match affine::source(raw) {
        Source::Guess => "neither sform nor qform is set: the orientation is a guess (x to the left, centred)",
        Source::Qform if raw.integer(Field::SFORM_CODE, 0) > 0 => {
            "sform_code is set, but the rows are no three axes; the qform is used"
        }
        Source::Sform if raw.integer(Field::QFORM_CODE, 0) > 0 => {
            let extents = std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1));
            let grid = |affine| Grid { extents, spacing: axes::column_lengths(&affine), affine };
            if grid(affine::sform(raw)).same_grid(&grid(affine::qform(raw))) {
                return None;
            }
            "qform and sform disagree by more than a tenth of a voxel; the sform is used"
        }
        Source::Sform | Source::Qform => return None,
    };
    Some(Warning::new(kind))
}

/// Where the voxels are that `header`, of the same file, promises.
fn place_of(path: &Path, header: &Header, raw: &RawHeader) -> Result<Place, DataError> {
    let (header_file, voxel_file) = files_of(path);
    let wrong = |field, found, expected| DataError::Header { path: header_file.clone(), field, found, expected };
    if raw.is_single() != (header_file == voxel_file) {
        let (found, expected) = if raw.is_single() {
            ("a single file's", "a pair's (ni1, ni2)")
        } else {
            ("a pair's", "a single file's (n+1, n+2)")
        };
        return Err(wrong("magic", found.into(), expected));
    }
    let first = if raw.is_single() { raw.version.first_voxel() } else { 0 };
    let stated = raw.float(Field::VOX_OFFSET, 0);
    // Zero is what some programs leave in a .nii file whose voxels follow at once.
    let offset = if stated == 0.0 { first } else { stated as u64 };
    if stated != 0.0 && (stated.fract() != 0.0 || stated < first as f64) {
        return Err(wrong("vox_offset", stated.to_string(), "a whole number of bytes after the header"));
    }
    let count = header.voxel_bytes(&header_file, "dim")?;
    // A header in front of the voxels tells gzip from NIfTI; voxels alone do not, so there the name decides.
    let named_gzip = voxel_file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let packing = if raw.is_single() || named_gzip { Packing::Detect } else { Packing::Plain };
    Ok(Place { file: voxel_file, start: Some(offset), skip: 0, count, packing })
}
