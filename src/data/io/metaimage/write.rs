//! Writing MetaImage files: compressed, little endian, in the grid of any other format's header.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{TYPE_NAMES, ras_from_lps};
use crate::data::DataError;
use crate::data::io::bytes::{ByteOrder, deflated, write_whole};
use crate::data::io::encode::encode_all;
use crate::data::io::scalar::Scalar;
use crate::data::io::{Content, Header, PROBABILITY, axes};

/// The header file and the file of voxels of an output: the same for `.mha`, `a.mhd` and `a.zraw` otherwise.
pub(crate) fn files_of(path: &Path) -> (PathBuf, PathBuf) {
    let pair = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mhd"));
    let voxels = if pair { path.with_extension("zraw") } else { path.to_path_buf() };
    (path.to_path_buf(), voxels)
}

/// Writes voxels (x fastest) with the geometry of `like`.
pub(crate) fn write<T: Copy + Into<f64>>(
    path: &Path,
    like: &Header,
    scalar: Scalar,
    voxels: &[T],
    content: Content,
) -> Result<(), DataError> {
    let stored = deflated(&encode_all(path, like, voxels, scalar, ByteOrder::Little)?);
    let (header_file, voxel_file) = files_of(path);
    if header_file == voxel_file {
        return write_whole(path, &[text(like, (scalar, content), stored.len(), "LOCAL").as_bytes(), &stored], false);
    }
    let name = voxel_file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // The header last: a pair without its header is no volume, so a reader never sees half of it.
    write_whole(&voxel_file, &[&stored], false)?;
    write_whole(&header_file, &[text(like, (scalar, content), stored.len(), &name).as_bytes()], false)
}

/// The header. The spacing is the length of the affine's columns, as ITK takes it from any format; directions are columns
/// divided by it, so the header always says the affine of `like`.
fn text(like: &Header, (scalar, content): (Scalar, Content), packed: usize, file: &str) -> String {
    let n = like.shape.len();
    let affine = ras_from_lps(like.affine);
    let lengths = axes::spacing_of(&affine, like.spacing, n);
    let matrix = (0..n * n).map(|at| match (at / n, at % n) {
        (axis, row) if axis < 3 && row < 3 => affine[row][axis] / lengths[axis],
        (axis, row) => f64::from(u8::from(axis == row)),
    });
    let offset = (0..n).map(|row| affine.get(row).map_or(0.0, |row| row[3]));
    let spacing = (0..n).map(|axis| lengths.get(axis).copied().unwrap_or(1.0));
    let name = TYPE_NAMES.iter().find(|(_, known)| *known == scalar).map_or("MET_NONE", |(name, _)| name);
    let extents: Vec<String> = like.shape.iter().map(usize::to_string).collect();
    let comment = match content {
        Content::Probability => format!("Comment = {PROBABILITY}\n"),
        Content::Plain => String::new(),
    };
    let mut text =
        format!("{comment}ObjectType = Image\nNDims = {n}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n");
    let _ = write!(
        text,
        "CompressedData = True\nCompressedDataSize = {packed}\nTransformMatrix = {}\nOffset = {}\nElementSpacing = {}\n\
         DimSize = {}\nElementType = {name}\nElementDataFile = {file}\n",
        numbers(matrix),
        numbers(offset),
        numbers(spacing),
        extents.join(" "),
    );
    text
}

/// Shortest decimals that read back as the same float64.
fn numbers(values: impl Iterator<Item = f64>) -> String {
    // Adding 0 makes -0 positive.
    values.map(|value| (value + 0.0).to_string()).collect::<Vec<_>>().join(" ")
}
