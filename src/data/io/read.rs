//! From files to volumes and label maps: the rules that all formats share.

use std::path::{Path, PathBuf};

use super::content;
use super::entries;
use super::format::format_of;
use super::header::Header;
use super::input::{Input, room_for};
use super::series::SeriesChoice;
use crate::data::DataError;
use crate::data::volume::{Grid, LabelMap, NonFinite, Volume, position_of};

/// Labels stored as floats or scaled by a float32 slope are whole numbers but for rounding: 255 ·
/// float32(1/255) is off by 6e-8, and a label of 65535 in float32 arithmetic by 4e-3 at the very
/// most.
const LABEL_TOLERANCE: f64 = 4e-3;

/// Reads only the header: cheap, of a compressed file no more than the beginning.
pub fn read_header(path: &Path) -> Result<Header, DataError> {
    header_of(Input::file(path))
}

/// All files from which a volume is read, with the one that names it. Voxels are not read.
///
/// # Errors
/// [`DataError`] of the file or folder.
pub(crate) fn files_of(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if path.is_dir() {
        return entries(path);
    }
    let input = Input::file(path);
    let format = format_of(input)?;
    // Only a text says in words where its voxels are; other formats have a rule for the name.
    if !format.has_text_header() {
        return Ok(format.files(path));
    }
    let mut files = vec![path.to_path_buf()];
    files.extend(header_of(input)?.native.voxel_files().into_iter().filter(|file| file != path));
    Ok(files)
}

/// As [`read_header`], of one series of a folder that holds several.
pub fn read_header_of(path: &Path, series: &SeriesChoice) -> Result<Header, DataError> {
    header_of(Input::file(path).of_series(series))
}

#[cfg(test)]
thread_local! {
    /// Headers that this thread has parsed.
    pub(crate) static PARSED_HEADERS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(crate) fn header_of(input: Input<'_>) -> Result<Header, DataError> {
    #[cfg(test)]
    PARSED_HEADERS.set(PARSED_HEADERS.get() + 1);
    let format = format_of(input)?;
    format.read_header(input).map_err(|error| content::explain(input, error))
}

/// Calls `each` with every voxel of a file of any shape, scaled, in the order of the file. A piece of the file is in memory at a
/// time. `room` is called before the first voxel, after the check that the file is long enough for all of them.
///
/// # Errors
/// [`DataError`] of the file, also where voxels are colours or complex numbers.
pub(crate) fn visit_voxels<R>(
    input: Input<'_>,
    header: &Header,
    room: impl FnOnce(usize) -> Result<R, DataError>,
    mut each: impl FnMut(&mut R, f64),
) -> Result<R, DataError> {
    header.check_real(input.path)?;
    let (mut room, mut made) = (Some(room), None);
    let visited = header.native.visit(input, header, &mut |bytes, encoding| {
        if let Some(room) = room.take() {
            made = Some(room(header.shape.iter().product())?);
        }
        if let Some(made) = &mut made {
            encoding.visit(bytes, |value| each(made, value));
        }
        Ok(())
    });
    visited.map_err(|error| content::explain(input, error))?;
    made.ok_or_else(|| DataError::unusable(input.path, "holds no voxels, expected at least one"))
}

/// [`visit_voxels`] of an image of one channel or several. `room` gets the voxels of a channel and the number of channels; `each`
/// gets the channel of each voxel. The voxels of one channel come with x fastest.
pub(crate) fn visit_channels<R>(
    input: Input<'_>,
    header: &Header,
    room: impl FnOnce(usize, usize) -> Result<R, DataError>,
    mut each: impl FnMut(&mut R, usize, f64),
) -> Result<R, DataError> {
    let channels = header.channels(input.path)?;
    let interleaved = header.interleaved;
    let mut channel = 0;
    let room = |count: usize| Ok((room(count / channels, channels)?, count / channels, count / channels));
    let visited = visit_voxels(input, header, room, |(room, count, left), value| {
        each(room, channel, value);
        if interleaved {
            channel = if channel + 1 == channels { 0 } else { channel + 1 };
        } else if *left == 1 {
            (channel, *left) = (channel + 1, *count);
        } else {
            *left -= 1;
        }
    })?;
    Ok(visited.0)
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
    read_voxels(Input::file(path), &read_header(path)?)
}

/// As [`read_volume`], of one series of a folder that holds several.
pub fn read_volume_of(path: &Path, series: &SeriesChoice) -> Result<Volume, DataError> {
    read_voxels(Input::file(path), &read_header_of(path, series)?)
}

/// Reads an image of one channel or several: a volume for each channel, in the order of the file, all on one grid. Their voxels are
/// finite.
///
/// # Errors
/// [`DataError`] of the file, of its number of channels ([`Header::channels`]), and of the first channel with a voxel that is NaN or
/// infinite.
pub fn read_volumes(path: &Path) -> Result<Vec<Volume>, DataError> {
    read_channels(Input::file(path), &read_header(path)?)
}

/// Reads an image of one channel, whose header was read before; its voxels are finite.
pub(crate) fn read_voxels(input: Input<'_>, header: &Header) -> Result<Volume, DataError> {
    header.grid(input.path)?;
    let mut channels = read_channels(input, header)?;
    Ok(channels.swap_remove(0))
}

/// [`read_volumes`] of a file whose header was read before.
pub(crate) fn read_channels(input: Input<'_>, header: &Header) -> Result<Vec<Volume>, DataError> {
    let grid = header.grid_of_channels(input.path)?;
    let room = |count, channels| {
        let channel = |_| Ok((room_for::<f32>(input.path, count)?, NonFinite::default()));
        (0..channels).map(channel).collect::<Result<Vec<_>, _>>()
    };
    let channels = visit_channels(input, header, room, |channels, channel, value| {
        let (voxels, odd) = &mut channels[channel];
        odd.note(value as f32);
        voxels.push(value as f32);
    })?;
    check_finite(input.path, &grid, channels.iter().map(|(_, odd)| odd))?;
    Ok(channels.into_iter().map(|(voxels, _)| Volume { grid: grid.clone(), voxels }).collect())
}

/// Refuses the first channel with voxels that are no numbers.
fn check_finite<'a>(
    path: &Path,
    grid: &Grid,
    channels: impl ExactSizeIterator<Item = &'a NonFinite>,
) -> Result<(), DataError> {
    let several = channels.len() > 1;
    channels.enumerate().try_for_each(|(channel, odd)| odd.check(path, several.then_some(channel), grid.extents))
}

/// Reads every voxel of an image of one channel and keeps none; returns the smallest and the largest value. [`read_volume`] would
/// succeed.
pub fn check_volume(path: &Path, header: &Header) -> Result<[f32; 2], DataError> {
    header.grid(path)?;
    check_channels(path, header).map(|ranges| ranges[0])
}

/// Reads every voxel of an image and keeps none; returns the smallest and the largest value of each channel. The file can be read as
/// an image of so many channels.
pub fn check_channels(path: &Path, header: &Header) -> Result<Vec<[f32; 2]>, DataError> {
    let grid = header.grid_of_channels(path)?;
    let none = |_, channels| Ok(vec![([f32::INFINITY, f32::NEG_INFINITY], NonFinite::default()); channels]);
    let channels = visit_channels(Input::file(path), header, none, |channels, channel, value| {
        let ([low, high], odd) = &mut channels[channel];
        let value = value as f32;
        odd.note(value);
        (*low, *high) = (low.min(value), high.max(value));
    })?;
    check_finite(path, &grid, channels.iter().map(|(_, odd)| odd))?;
    Ok(channels.into_iter().map(|(range, _)| range).collect())
}

/// Reads a label map: whole numbers from 0 to 65535, of any real type in the file.
pub fn read_label_map(path: &Path) -> Result<LabelMap, DataError> {
    read_labels(Input::file(path), &read_header(path)?)
}

/// Reads a label map whose header was read before.
pub(crate) fn read_labels(input: Input<'_>, header: &Header) -> Result<LabelMap, DataError> {
    let grid = header.grid(input.path)?;
    let voxels = visit_labels(input, header, |count| room_for::<u16>(input.path, count), Vec::push)?;
    Ok(LabelMap { grid, voxels })
}

/// The label values of a file, ascending, each with the index of its first voxel: reads every voxel and keeps none.
/// [`read_label_map`] would succeed.
pub fn label_values(path: &Path, header: &Header) -> Result<Vec<(u16, usize)>, DataError> {
    let mut at = 0;
    // Up to the largest value: a table of all values takes longer than a small label map.
    let first = visit_labels(
        Input::file(path),
        header,
        |_| Ok(Vec::new()),
        |first, label| {
            let label = usize::from(label);
            if label >= first.len() {
                first.resize(label + 1, usize::MAX);
            }
            first[label] = at.min(first[label]);
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
    wrong.map_or(Ok(room), |(index, value)| {
        let at = position_of(index, grid.extents);
        Err(DataError::LabelValue { path: input.path.to_path_buf(), value, at })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Grid;
    use crate::data::io::{Native, Pieces};
    use std::sync::Arc;

    /// A format that forgets the voxels.
    #[derive(Debug)]
    struct Nothing;

    impl Native for Nothing {
        fn visit(&self, _: Input<'_>, _: &Header, _: Pieces<'_>) -> Result<(), DataError> {
            Ok(())
        }
    }

    #[test]
    fn a_format_without_pieces_is_an_error() {
        let header = Header::for_grid(&Grid::axis_aligned([3, 4, 5], [1.0; 3]));
        let header = Header { native: Arc::new(Nothing), ..header };
        let input = Input::file(Path::new("a.nii"));
        let errors = [read_voxels(input, &header).map(|_| ()), read_labels(input, &header).map(|_| ())];
        for error in errors.map(|found| found.expect_err("no voxels").to_string()) {
            assert_eq!(error, "a.nii: holds no voxels, expected at least one");
        }
    }
}
