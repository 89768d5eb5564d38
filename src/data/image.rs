//! An image with its channels: what its files say together, and how they are read onto one grid.

use std::path::Path;

use super::alignment::{Placed, reordering};
use super::io::input::Input;
use super::io::{self, Header, MOST_CHANNELS, check_channels, read_channels};
use super::onto::resampled_onto;
use super::volume::Volume;
use super::{DataError, ImageFiles};

/// The headers of an image's files, which belong together.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    files: &'a ImageFiles,
    headers: Vec<Header>,
    /// Channels of all files.
    channels: usize,
    /// Whether channels on another grid are resampled.
    align: bool,
}

impl<'a> Image<'a> {
    /// Reads the headers. Every file must have three axes, or channels along a further one, and lie on the grid of the first
    /// file, in any order of voxels, unless `align` says that the others are resampled onto it.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub(crate) fn open(files: &'a ImageFiles, align: bool) -> Result<Image<'a>, DataError> {
        let headers = files.files().iter().map(|file| io::read_header_of(file, files.series()));
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        let mut channels = 0;
        for (file, header) in files.files().iter().zip(&headers) {
            header.check_real(file)?;
            channels += header.channels(file)?;
        }
        let image = Image { files, headers, channels, align };
        if image.channels() > MOST_CHANNELS {
            let problem = format!("{} channels, expected at most {MOST_CHANNELS}", image.channels());
            return Err(DataError::unusable(files.first(), problem));
        }
        for (file, header) in image.others().filter(|_| !align) {
            reordering(Placed { path: file, header }, image.first()).map_err(hinted)?;
        }
        Ok(image)
    }

    /// Channels of all files.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Refuses an image that does not have so many channels.
    pub(crate) fn check_channels(&self, expected: usize) -> Result<(), DataError> {
        match self.channels() {
            found if found == expected => Ok(()),
            found => {
                let found = counted(found);
                let problem = format!("{found}, expected {}", counted(expected));
                Err(DataError::unusable(self.files.first(), problem))
            }
        }
    }

    /// The first file, on whose grid the image lies.
    pub(crate) fn first(&self) -> Placed<'_> {
        Placed { path: self.files.first(), header: &self.headers[0] }
    }

    /// The files but the first.
    fn others(&self) -> impl Iterator<Item = (&Path, &Header)> {
        self.headers().skip(1)
    }

    /// All headers with their files.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&Path, &Header)> {
        self.files.files().iter().map(|file| file.as_path()).zip(&self.headers)
    }

    /// The header of one channel on the image's grid: what an output is written from.
    pub(crate) fn into_header(self) -> Header {
        let mut headers = self.headers;
        headers.swap_remove(0).of_one_channel()
    }

    /// Voxels of one channel.
    pub(crate) fn voxels(&self) -> usize {
        self.headers[0].shape.iter().take(3).product()
    }

    /// Smallest and largest value of each channel: reads every voxel and keeps none.
    pub(crate) fn ranges(&self) -> Result<Vec<[f32; 2]>, DataError> {
        let of_files = self.headers().map(|(file, header)| check_channels(file, header));
        Ok(of_files.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Reads the channels, each on the grid of the first file.
    pub(crate) fn read(&self) -> Result<Vec<Volume>, DataError> {
        let first = self.first();
        let mut channels = read_channels(Input::file(first.path), first.header)?;
        for (file, header) in self.others() {
            let read = read_channels(Input::file(file), header)?;
            match reordering(Placed { path: file, header }, first) {
                Ok(order) => {
                    let grid = &channels[0].grid;
                    let ordered = |volume: Volume| Volume { grid: grid.clone(), voxels: order.applied(volume.voxels) };
                    let mut ordered = read.into_iter().map(ordered).collect();
                    channels.append(&mut ordered);
                }
                Err(_) if self.align => {
                    let grid = channels[0].grid.clone();
                    channels.extend(read.iter().map(|volume| resampled_onto(volume, &grid)));
                }
                Err(error) => return Err(hinted(error)),
            }
        }
        Ok(channels)
    }
}

/// Reads the channels of an image onto the grid of another volume: their voxels in its order. Channels on another grid than the
/// first are resampled onto it.
///
/// # Errors
/// [`DataError`] that names the file; that of [`reordering`] for the first channel.
pub fn read_channels_on(files: &ImageFiles, on: Placed<'_>) -> Result<Vec<Volume>, DataError> {
    let image = Image::open(files, true)?;
    let (order, grid) = (reordering(image.first(), on)?, on.header.grid_of_channels(on.path)?);
    let placed = |volume: Volume| Volume { grid: grid.clone(), voxels: order.applied(volume.voxels) };
    Ok(image.read()?.into_iter().map(placed).collect())
}

/// A number of channels in words.
pub(crate) fn counted(channels: usize) -> String {
    if channels == 1 { "1 channel".to_owned() } else { format!("{channels} channels") }
}

/// A mismatch of two channels' grids, with the way on.
fn hinted(error: DataError) -> DataError {
    match error {
        DataError::GridMismatch { label, image, difference } => {
            let difference = format!("{difference}; data.align = true resamples channels onto the first one's grid");
            DataError::GridMismatch { label, image, difference }
        }
        other => other,
    }
}
