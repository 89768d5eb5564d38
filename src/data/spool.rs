//! Slices of many volumes that arrive together, kept in a temporary file until each volume is wanted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{DataError, Geometry};

/// Probabilities of the foreground classes or regions, slice by slice in a file without a name in the folder of the outputs.
#[derive(Debug)]
pub struct Spool {
    file: File,
    /// For messages.
    folder: PathBuf,
    /// Volumes.
    count: usize,
    /// Voxels of a slice.
    plane: usize,
    /// Slices of a volume that have arrived.
    slices: usize,
    /// The first error; what comes after it is dropped.
    failure: Option<io::Error>,
}

impl Spool {
    /// A spool of `count` volumes with slices of `plane` voxels, in a folder that has room for all of them.
    ///
    /// # Errors
    /// [`DataError::Io`] when no file can be made there.
    pub(super) fn new(folder: &Path, count: usize, plane: usize) -> Result<Spool, DataError> {
        let file = tempfile::tempfile_in(folder).map_err(DataError::io(folder, "make a temporary file in"))?;
        Ok(Spool { file, folder: folder.to_owned(), count, plane, slices: 0, failure: None })
    }

    /// Takes some slices of volume `number`; each volume gets the same slices, in order, before the next ones come.
    pub(super) fn push(&mut self, number: usize, slices: &[f32]) {
        if self.failure.is_none() {
            self.failure = self.write(number, slices).err();
        }
        if number + 1 == self.count {
            self.slices += slices.len() / self.plane;
        }
    }

    fn write(&mut self, number: usize, slices: &[f32]) -> io::Result<()> {
        for (at, slice) in slices.chunks_exact(self.plane).enumerate() {
            self.seek(number, self.slices + at)?;
            self.file.write_all(bytemuck::cast_slice(slice))?;
        }
        Ok(())
    }

    fn seek(&mut self, number: usize, slice: usize) -> io::Result<()> {
        let slices = (slice * self.count + number) as u64;
        self.file.seek(SeekFrom::Start(slices * size_of::<f32>() as u64 * self.plane as u64)).map(drop)
    }

    /// Volume `number`, x fastest.
    fn volume(&mut self, number: usize) -> io::Result<Vec<f32>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut volume = vec![0.0f32; self.plane * self.slices];
        for slice in 0..self.slices {
            self.seek(number, slice)?;
            let into = &mut volume[slice * self.plane..][..self.plane];
            self.file.read_exact(bytemuck::cast_slice_mut(into))?;
        }
        Ok(volume)
    }
}

/// The probabilities of the foreground classes or regions, or the maps of uncertainty, on the file's grid, of which one is in memory at a time.
#[derive(Debug)]
pub struct Probabilities<'a> {
    pub(super) spool: Spool,
    pub(super) geometry: &'a Geometry,
}

impl Probabilities<'_> {
    /// Number of foreground classes or regions.
    pub fn count(&self) -> usize {
        self.spool.count
    }

    /// The volume of a foreground class or region, counted from 0, x fastest.
    ///
    /// # Errors
    /// [`DataError::Io`] when a slice could not be written or read.
    pub fn of_class(&mut self, class: usize) -> Result<Vec<f32>, DataError> {
        let voxels = self.spool.volume(class).map_err(DataError::io(&self.spool.folder, "keep probabilities in"));
        // What is not looked at is no foreground.
        voxels.map(|voxels| self.geometry.uncropped(&voxels, 0.0))
    }
}
