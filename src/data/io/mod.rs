//! Volumes in files: which format a file has, and what every format has in common.
//!
//! | format | names | read | written |
//! |---|---|---|---|
//! | NIfTI-1, NIfTI-2 ([`nifti`]) | `.nii`, `.nii.gz`, `.hdr` + `.img` | yes | yes |
//! | MetaImage ([`metaimage`]) | `.mha`, `.mhd` + voxel file | yes | yes, compressed |
//! | DICOM ([`dicom`]) | a folder that holds one series | yes | no |
//!
//! A reader turns a file into a [`Header`] and raw voxels; this module makes volumes and label maps
//! of them, so that the rules (three axes, finite intensities, whole labels) are the same for every
//! format. The file name decides the format; a folder is a DICOM series, whose files are recognised by their content.
//!
//! Images with NaN or infinite voxels are refused: no replacement is right for all of them, and one
//! NaN ends a training. [`crate::data::inspect()`] counts them instead.

mod axes;
pub mod bytes;
pub(crate) mod content;
pub mod dicom;
mod encode;
mod gzip;
pub(crate) mod input;
pub mod metaimage;
pub mod nifti;
pub mod scalar;

use std::path::Path;

pub use axes::{OtherAffine, Statement};
pub use bytes::ByteOrder;
pub use scalar::{Scalar, Scaling};

use self::input::{Input, room_for};
use self::scalar::Encoding;
use super::volume::{Grid, LabelMap, Volume, position_of};
use super::{DataError, Warning};

/// Labels stored as floats or scaled by a float32 slope are whole numbers but for rounding: 255 ·
/// float32(1/255) is off by 6e-8, and a label of 65535 in float32 arithmetic by 4e-3 at the very
/// most.
const LABEL_TOLERANCE: f64 = 4e-3;

/// What the header of a map of probabilities says, in NIfTI's `descrip` and MetaImage's `Comment`.
const PROBABILITY: &str = "vnet-engine: probability of a class";

/// What a written volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Labels or intensities.
    Plain,
    /// The probabilities of a class, which the header says.
    Probability,
}

/// Bytes of a file that are decoded at a time: whole voxels of every real type.
const PIECE: usize = 1 << 18;

/// What a file says about its voxels.
#[derive(Clone, Debug)]
pub struct Header {
    /// Extents as stored, x first; three axes or fewer or more.
    pub shape: Vec<usize>,
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
    /// What only the format knows: where the voxels are, and what an output in the same format keeps.
    pub(crate) native: Native,
}

/// The part of a header that is the format's own.
#[derive(Clone, Debug)]
pub(crate) enum Native {
    /// The header's bytes, from which an output in the same grid is made.
    Nifti(nifti::RawHeader),
    /// Where the voxels are.
    MetaImage(metaimage::Storage),
    /// Files in the order of the slices.
    Dicom(dicom::Series),
}

impl Header {
    /// The grid of a file with three axes (further axes of extent 1 are let pass).
    pub fn grid(&self, path: &Path) -> Result<Grid, DataError> {
        if self.shape.len() < 3 || self.shape[3..].iter().any(|&extent| extent != 1) {
            return Err(DataError::NotThreeAxes { path: path.to_path_buf(), shape: self.shape.clone() });
        }
        let extents = [self.shape[0], self.shape[1], self.shape[2]];
        Ok(Grid { extents, spacing: self.spacing, affine: self.affine })
    }

    /// Affines that the file states, or that other programs assume, besides the one that is used.
    pub fn other_affines(&self) -> Vec<OtherAffine> {
        match &self.native {
            Native::Nifti(raw) => nifti::other_affines(raw),
            Native::MetaImage(_) | Native::Dicom(_) => Vec::new(),
        }
    }

    /// Bytes of all voxels; `field` of `path` is what says the shape.
    fn voxel_bytes(&self, path: &Path, field: &'static str) -> Result<u64, DataError> {
        let product = |product: u64, &extent: &usize| product.checked_mul(extent as u64);
        self.shape.iter().try_fold(self.scalar.bytes() as u64, product).ok_or_else(|| DataError::Header {
            path: path.to_path_buf(),
            field,
            found: format!("{:?}", self.shape),
            expected: "a volume of less than 2^64 bytes",
        })
    }

    /// True if this program wrote the file as the probabilities of a class ([`write_probabilities`]): the header says so.
    pub fn is_probability(&self) -> bool {
        match &self.native {
            Native::Nifti(raw) => raw.description() == PROBABILITY.as_bytes(),
            Native::MetaImage(storage) => storage.probability,
            Native::Dicom(_) => false,
        }
    }

    /// The header of a new file: NIfTI-1 (NIfTI-2 above 32767 voxels along an axis), little endian.
    pub fn for_grid(grid: &Grid) -> Header {
        nifti::header_for_grid(grid)
    }
}

/// The formats, told apart by file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `.nii`, `.nii.gz`, and pairs of `.hdr` and `.img` (each also `.gz`).
    Nifti,
    /// `.mha`, and `.mhd` with a file of voxels.
    MetaImage,
    /// A folder.
    Dicom,
}

/// Endings of file names (in lower case), the longer first.
const ENDINGS: [(&str, Format); 8] = [
    (".nii.gz", Format::Nifti),
    (".nii", Format::Nifti),
    (".hdr.gz", Format::Nifti),
    (".hdr", Format::Nifti),
    (".img.gz", Format::Nifti),
    (".img", Format::Nifti),
    (".mha", Format::MetaImage),
    (".mhd", Format::MetaImage),
];

fn ending_of(name: &str) -> Option<(&'static str, Format)> {
    let lower = name.to_ascii_lowercase();
    ENDINGS.into_iter().find(|(ending, _)| lower.len() > ending.len() && lower.ends_with(ending))
}

fn format_of_name(path: &Path) -> Option<Format> {
    ending_of(&path.file_name()?.to_string_lossy()).map(|(_, format)| format)
}

fn format_of(path: &Path) -> Result<Format, DataError> {
    match format_of_name(path) {
        _ if path.is_dir() => Ok(Format::Dicom),
        Some(format) => Ok(format),
        None if !path.exists() => Err(DataError::io(path, "open")(std::io::Error::from(std::io::ErrorKind::NotFound))),
        None => Err(DataError::UnknownFormat { path: path.to_path_buf() }),
    }
}

/// True for a folder that holds DICOM files: a volume by itself.
pub fn is_series(path: &Path) -> bool {
    path.is_dir() && dicom::is_series(path)
}

/// What is known of a folder that is no DICOM series: a folder with one that lies deeper, or what it holds instead.
pub(crate) fn without_series(path: &Path) -> Result<std::path::PathBuf, String> {
    dicom::series_within(path).into_iter().next().ok_or_else(|| dicom::beside_series(path))
}

/// The file name under which a result for the volume `input` is written: its own, and for the folder of a DICOM
/// series, a format that is not written, that of a compressed NIfTI file.
pub fn output_name(input: &Path) -> String {
    let name = input.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if ending_of(&name).is_some() { name } else { format!("{name}.nii.gz") }
}

/// Whether a file of this name can be written: to be asked before there is anything to write.
///
/// # Errors
/// [`DataError::UnknownFormat`] or [`DataError::ReadOnlyFormat`].
pub fn check_output(path: &Path) -> Result<(), DataError> {
    match format_of_name(path) {
        Some(Format::Nifti | Format::MetaImage) => Ok(()),
        _ if path.is_dir() => Err(DataError::ReadOnlyFormat { path: path.to_path_buf(), format: "DICOM" }),
        _ => Err(DataError::UnknownFormat { path: path.to_path_buf() }),
    }
}

/// All files that are written for the output `path`: two for a pair of header and voxels.
pub fn files_written(path: &Path) -> Vec<std::path::PathBuf> {
    let (header, voxels) = match format_of_name(path) {
        Some(Format::Nifti) => nifti::files_of(path),
        Some(Format::MetaImage) => metaimage::files_of(path),
        _ => (path.to_path_buf(), path.to_path_buf()),
    };
    if header == voxels { vec![header] } else { vec![header, voxels] }
}

/// The case that a file name stands for, if it is a volume's: `a.nii.gz` gives `a`. Hidden files
/// (`._a.nii`, which macOS leaves behind) and the `.img` half of a pair are no volumes of their
/// own.
pub fn case_of(file_name: &str) -> Option<&str> {
    let (ending, _) = ending_of(file_name)?;
    if file_name.starts_with('.') || ending.starts_with(".img") {
        return None;
    }
    Some(&file_name[..file_name.len() - ending.len()])
}

/// Reads only the header: cheap, of a compressed file no more than the beginning.
pub fn read_header(path: &Path) -> Result<Header, DataError> {
    header_of(Input::file(path))
}

#[cfg(test)]
thread_local! {
    /// Headers that this thread has parsed.
    pub(crate) static PARSED_HEADERS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(crate) fn header_of(input: Input<'_>) -> Result<Header, DataError> {
    #[cfg(test)]
    PARSED_HEADERS.set(PARSED_HEADERS.get() + 1);
    if input.is_memory() && format_of_name(input.path).is_none() {
        return dicom::read_header_of_file(input);
    }
    let read = match format_of(input.path)? {
        Format::Nifti => nifti::read_header,
        Format::MetaImage => metaimage::read_header,
        Format::Dicom => dicom::read_header,
    };
    read(input).map_err(|error| content::explain(input, error))
}

/// Calls `each` with every voxel of a file of any shape, scaled, in the order of the file, a piece of the file in memory
/// at a time; refuses colours and complex numbers. `room` is called before the first voxel, when the length of the file
/// was found to allow them all.
pub(crate) fn visit_voxels<R>(
    input: Input<'_>,
    header: &Header,
    room: impl FnOnce(usize) -> Result<R, DataError>,
    each: impl FnMut(&mut R, f64),
) -> Result<R, DataError> {
    visit_pieces(input, header, room, each).map_err(|error| content::explain(input, error))
}

fn visit_pieces<R>(
    input: Input<'_>,
    header: &Header,
    room: impl FnOnce(usize) -> Result<R, DataError>,
    mut each: impl FnMut(&mut R, f64),
) -> Result<R, DataError> {
    if !header.scalar.is_real() {
        return Err(DataError::VoxelType { path: input.path.to_path_buf(), dtype: header.scalar.name() });
    }
    let place = match &header.native {
        Native::Nifti(raw) => nifti::place_of(input.path, header, raw)?,
        Native::MetaImage(storage) => metaimage::place_of(input.path, header, storage)?,
        Native::Dicom(series) => {
            let mut room = room(header.shape.iter().product())?;
            dicom::visit(input, series, |value| each(&mut room, value))?;
            return Ok(room);
        }
    };
    let mut stream = place.open(input)?;
    let mut room = room(header.shape.iter().product())?;
    let mut piece = vec![0; usize::try_from(place.count).unwrap_or(PIECE).min(PIECE)];
    let encoding = Encoding { scalar: header.scalar, order: header.byte_order, scaling: header.scaling };
    loop {
        let bytes = stream.next(&mut piece)?;
        if bytes.is_empty() {
            return Ok(room);
        }
        encoding.visit(bytes, |value| each(&mut room, value));
    }
}

/// Reads an image; its voxels are finite.
///
/// ```
/// use vnet_engine::data::io::{read_volume, write_volume};
/// use vnet_engine::data::{Grid, Volume};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("volume.nii.gz");
/// let grid = Grid::axis_aligned([4, 3, 2], [0.5, 0.5, 3.0]);
/// write_volume(&path, &Volume::new(grid, (0..24).map(|i| i as f32).collect())?)?;
/// let volume = read_volume(&path)?;
/// assert_eq!((volume.grid.spacing, volume.voxels[23]), ([0.5, 0.5, 3.0], 23.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_volume(path: &Path) -> Result<Volume, DataError> {
    volume_of(Input::file(path))
}

/// Reads an image whose header was read before; its voxels are finite.
pub(crate) fn read_voxels(path: &Path, header: &Header) -> Result<Volume, DataError> {
    voxels_of(Input::file(path), header)
}

pub(crate) fn volume_of(input: Input<'_>) -> Result<Volume, DataError> {
    voxels_of(input, &header_of(input)?)
}

fn voxels_of(input: Input<'_>, header: &Header) -> Result<Volume, DataError> {
    let grid = header.grid(input.path)?;
    let mut odd = NonFinite::default();
    let room = |count| room_for::<f32>(input.path, count);
    let voxels = visit_voxels(input, header, room, |voxels, value| {
        odd.note(value as f32);
        voxels.push(value as f32);
    })?;
    odd.check(input.path, grid.extents)?;
    Ok(Volume { grid, voxels })
}

/// Reads every voxel of an image and keeps none; returns the smallest and the largest value. [`read_volume`] would succeed.
pub fn check_volume(path: &Path, header: &Header) -> Result<[f32; 2], DataError> {
    let input = Input::file(path);
    let grid = header.grid(path)?;
    let mut odd = NonFinite::default();
    let range = visit_voxels(
        input,
        header,
        |_| Ok([f32::INFINITY, f32::NEG_INFINITY]),
        |[low, high], value| {
            let value = value as f32;
            odd.note(value);
            (*low, *high) = (low.min(value), high.max(value));
        },
    )?;
    odd.check(path, grid.extents)?;
    Ok(range)
}

/// Voxels that are no numbers.
#[derive(Default)]
struct NonFinite {
    seen: usize,
    count: usize,
    first: usize,
}

impl NonFinite {
    fn note(&mut self, value: f32) {
        if !value.is_finite() {
            if self.count == 0 {
                self.first = self.seen;
            }
            self.count += 1;
        }
        self.seen += 1;
    }

    fn check(&self, path: &Path, extents: [usize; 3]) -> Result<(), DataError> {
        if self.count == 0 {
            return Ok(());
        }
        let (at, path) = (position_of(self.first, extents), path.to_path_buf());
        Err(DataError::NonFinite { path, count: self.count, voxels: self.seen, at })
    }
}

/// Reads a label map: whole numbers from 0 to 65535, in whatever type they are stored.
pub fn read_label_map(path: &Path) -> Result<LabelMap, DataError> {
    label_map_of(Input::file(path))
}

/// Reads a label map whose header was read before.
pub(crate) fn read_labels(path: &Path, header: &Header) -> Result<LabelMap, DataError> {
    labels_of(Input::file(path), header)
}

pub(crate) fn label_map_of(input: Input<'_>) -> Result<LabelMap, DataError> {
    labels_of(input, &header_of(input)?)
}

fn labels_of(input: Input<'_>, header: &Header) -> Result<LabelMap, DataError> {
    let grid = header.grid(input.path)?;
    let voxels = visit_labels(input, header, |count| room_for::<u16>(input.path, count), Vec::push)?;
    Ok(LabelMap { grid, voxels })
}

/// The label values of a file, ascending, each with the index of its first voxel: reads every voxel and keeps none.
/// [`read_label_map`] would succeed.
pub fn label_values(path: &Path, header: &Header) -> Result<Vec<(u16, usize)>, DataError> {
    let mut at = 0;
    let first = vec![usize::MAX; usize::from(u16::MAX) + 1];
    let first = visit_labels(
        Input::file(path),
        header,
        |_| Ok(first),
        |first, label| {
            let first = &mut first[usize::from(label)];
            *first = at.min(*first);
            at += 1;
        },
    )?;
    Ok((0..=u16::MAX).zip(first).filter(|(_, first)| *first != usize::MAX).collect())
}

/// [`visit_voxels`] of labels.
fn visit_labels<R>(
    input: Input<'_>,
    header: &Header,
    room: impl FnOnce(usize) -> Result<R, DataError>,
    mut each: impl FnMut(&mut R, u16),
) -> Result<R, DataError> {
    let grid = header.grid(input.path)?;
    let tolerance = if header.scaling.is_some() || header.scalar.is_float() { LABEL_TOLERANCE } else { 0.0 };
    let mut seen = 0;
    let mut wrong: Option<(usize, f64)> = None;
    let room = visit_voxels(input, header, room, |room, value| {
        let whole = value.round();
        let good = (value - whole).abs() <= tolerance && (0.0..=65535.0).contains(&whole);
        if !good && wrong.is_none() {
            wrong = Some((seen, value));
        }
        seen += 1;
        each(room, if good { whole as u16 } else { 0 });
    })?;
    match wrong {
        None => Ok(room),
        Some((index, value)) => {
            let at = position_of(index, grid.extents);
            Err(DataError::LabelValue { path: input.path.to_path_buf(), value, at })
        }
    }
}

/// Writes a label map in the grid of `like`, the header of the image it belongs to: same shape,
/// affine, and from NIfTI to NIfTI the same qform and sform codes, version and byte order. Voxels are uint8, or uint16 if a
/// label is above 255. The file is whole or absent.
pub fn write_label_map(path: &Path, labels: &LabelMap, like: &Header) -> Result<(), DataError> {
    let wide = labels.voxels.iter().any(|&label| label > 255);
    let scalar = if wide { Scalar::Uint16 } else { Scalar::Uint8 };
    write(path, like, scalar, &labels.voxels, Content::Plain)
}

/// Writes an image as float32 into a new file (see [`Header::for_grid`]).
pub fn write_volume(path: &Path, volume: &Volume) -> Result<(), DataError> {
    write_volume_as(path, volume, Scalar::Float32, &Header::for_grid(&volume.grid))
}

/// Writes an image in the grid of `like` as any real type; integers are rounded, and a value beyond
/// the type's range is an error.
pub fn write_volume_as(path: &Path, volume: &Volume, scalar: Scalar, like: &Header) -> Result<(), DataError> {
    write(path, like, scalar, &volume.voxels, Content::Plain)
}

/// Writes the probabilities of a class as float32 in the grid of `like`; the header says what they are
/// ([`Header::is_probability`]).
pub fn write_probabilities(path: &Path, volume: &Volume, like: &Header) -> Result<(), DataError> {
    write(path, like, Scalar::Float32, &volume.voxels, Content::Probability)
}

/// Writes voxels in the format of the file name, whatever the format of `like`.
fn write<T: Copy + Into<f64>>(
    path: &Path,
    like: &Header,
    scalar: Scalar,
    voxels: &[T],
    content: Content,
) -> Result<(), DataError> {
    check_output(path)?;
    match format_of_name(path) {
        Some(Format::MetaImage) => metaimage::write(path, like, scalar, voxels, content),
        _ => nifti::write(path, like, scalar, voxels, content),
    }
}
