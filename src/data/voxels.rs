//! Voxels in memory, or in a file of the cache that is mapped into memory.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// Voxels, used as a slice. Of those in a file, only the pages that are touched are read.
///
/// ```
/// use vnet_engine::data::Voxels;
///
/// let voxels = Voxels::from(vec![1.0f32, 2.0]);
/// assert_eq!((voxels.len(), voxels[1]), (2, 2.0));
/// ```
#[derive(Clone)]
pub struct Voxels<T>(Place<T>);

#[derive(Clone)]
enum Place<T> {
    Memory(Vec<T>),
    /// These bytes of a file, which are aligned.
    File(Arc<Mapped>, Range<usize>),
}

/// A whole file, mapped to read.
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps a file of the cache.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn of(file: &File) -> io::Result<Arc<Mapped>> {
        // SAFETY: the bytes must not change while they are mapped. Files of the cache are the program's own: they are
        // written under another name, renamed when they are whole, and never written again. Whoever replaces or removes
        // one leaves this file as it is until it is unmapped. A file that somebody else cuts short ends the process
        // (SIGBUS), as docs/decisions/0030-prepared-volumes-on-disk.md says.
        unsafe { Mmap::map(file) }.map(|map| Arc::new(Mapped(map)))
    }
}

impl<T: Pod> Voxels<T> {
    /// These bytes of a file; none where they are not in it, or not aligned, or not whole voxels.
    pub(crate) fn of_file(map: &Arc<Mapped>, bytes: Range<usize>) -> Option<Voxels<T>> {
        bytemuck::try_cast_slice::<u8, T>(map.0.get(bytes.clone())?).ok()?;
        Some(Voxels(Place::File(Arc::clone(map), bytes)))
    }

    /// Bytes that they take of the process's own memory: none for those in a file.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Place::Memory(voxels) => size_of_val(voxels.as_slice()),
            Place::File(..) => 0,
        }
    }

    /// The voxels, copied where they are in a file.
    pub fn into_vec(self) -> Vec<T> {
        match self.0 {
            Place::Memory(voxels) => voxels,
            Place::File(..) => self.to_vec(),
        }
    }
}

impl<T: Pod> Deref for Voxels<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Place::Memory(voxels) => voxels,
            Place::File(map, bytes) => bytemuck::cast_slice(&map.0[bytes.clone()]),
        }
    }
}

impl<T> From<Vec<T>> for Voxels<T> {
    fn from(voxels: Vec<T>) -> Voxels<T> {
        Voxels(Place::Memory(voxels))
    }
}

impl<T> Default for Voxels<T> {
    fn default() -> Voxels<T> {
        Vec::new().into()
    }
}

impl<T: Pod + PartialEq> PartialEq for Voxels<T> {
    fn eq(&self, other: &Voxels<T>) -> bool {
        **self == **other
    }
}

impl<T: Pod + PartialEq> PartialEq<Vec<T>> for Voxels<T> {
    fn eq(&self, other: &Vec<T>) -> bool {
        **self == **other
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Voxels<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn voxels_of_a_file_are_those_in_memory() {
        let mut file = tempfile::tempfile().expect("a file");
        let values: Vec<f32> = (0..32u8).map(|v| f32::from(v) * 1.5 - 7.0).collect();
        file.write_all(bytemuck::cast_slice(&values)).expect("written");
        let map = Mapped::of(&file).expect("mapped");
        let voxels = |bytes| Voxels::<f32>::of_file(&map, bytes);
        let some = voxels(16..64).expect("inside");
        assert_eq!((&some[..], some.bytes()), (&values[4..16], 0));
        assert_eq!(some, Voxels::from(values[4..16].to_vec()));
        assert_eq!(some.into_vec(), values[4..16]);
        assert!(voxels(0..132).is_none() && voxels(0..6).is_none() && voxels(2..6).is_none());
        let backwards = Range { start: 8, end: 4 };
        assert!(voxels(backwards).is_none());
    }
}
