//! Writing MetaImage files: compressed, little endian, in the grid of any other format's header.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::TYPE_NAMES;
use crate::data::DataError;
use crate::data::io::bytes::{ByteOrder, deflated, write_whole};
use crate::data::io::{Output, axes, name_of};

/// The files of an output: one for `.mha`, `a.zraw` and `a.mhd` otherwise.
pub(super) fn files_of(path: &Path) -> Vec<PathBuf> {
    let pair = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mhd"));
    let voxels = pair.then(|| path.with_extension("zraw"));
    voxels.into_iter().chain([path.to_path_buf()]).collect()
}

/// Writes a volume.
pub(super) fn write(output: &Output<'_>) -> Result<(), DataError> {
    let stored = deflated(&output.encoded(ByteOrder::Little)?);
    match files_of(output.path).as_slice() {
        [voxel_file, header_file] => {
            // The header last: a pair without its header is no volume, so a reader never sees half of it.
            write_whole(voxel_file, &[&stored], false)?;
            write_whole(header_file, &[text(output, stored.len(), &name_of(voxel_file)).as_bytes()], false)
        }
        _ => write_whole(output.path, &[text(output, stored.len(), "LOCAL").as_bytes(), &stored], false),
    }
}

/// The header. The spacing is the length of the affine's columns, as ITK takes it from any format; directions are columns
/// divided by it, so the header always says the affine of `like`.
fn text(output: &Output<'_>, packed: usize, file: &str) -> String {
    let like = output.like;
    let n = output.shape().len();
    let affine = axes::ras_from_lps(like.affine);
    let lengths = axes::spacing_of(&affine, like.spacing, n);
    let matrix = (0..n * n).map(|at| match (at / n, at % n) {
        (axis, row) if axis < 3 && row < 3 => affine[row][axis] / lengths[axis],
        (axis, row) => f64::from(u8::from(axis == row)),
    });
    let offset = (0..n).map(|row| affine.get(row).map_or(0.0, |row| row[3]));
    let spacing = (0..n).map(|axis| lengths.get(axis).copied().unwrap_or(1.0));
    let name = TYPE_NAMES.iter().find(|(_, known)| *known == output.scalar).map_or("MET_NONE", |(name, _)| name);
    let extents: Vec<String> = output.shape().iter().map(usize::to_string).collect();
    let comment = output.map.map_or_else(String::new, |map| format!("Comment = {map}\n"));
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
