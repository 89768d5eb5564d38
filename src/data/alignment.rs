//! Whether the voxels of one file lie on the grid of another, and how they are brought into its order.
//!
//! Two files can hold the same lattice of points along other axes or in other directions. Bringing one into the order of the
//! other moves voxels and interpolates none. Where a file states no position in space, programs assume different ones
//! ([`Statement::Assumed`]). Where it states two (NIfTI's sform and qform), one is used, and the other may explain a mismatch.

use std::path::Path;

use super::DataError;
use super::canonical::Reorientation;
use super::io::input::Input;
use super::io::{self, Header, Statement};
use super::volume::{Grid, LabelMap, Volume};

/// A file and its header.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The file, for errors.
    pub path: &'a Path,
    /// Its header.
    pub header: &'a Header,
}

impl Placed<'_> {
    /// All grids that the file may be meant to lie on, the one that is used first.
    fn grids(&self) -> Result<Vec<(Statement, Grid)>, DataError> {
        let used = self.header.grid_of_channels(self.path)?;
        let others = self.header.other_affines().into_iter();
        let others: Vec<_> =
            others.map(|other| (other.statement, Grid { affine: other.affine, ..used.clone() })).collect();
        Ok([(Statement::Used, used)].into_iter().chain(others).collect())
    }

    fn has_no_place(&self) -> bool {
        self.header.other_affines().iter().any(|other| other.statement == Statement::Assumed)
    }
}

/// How the voxels of `volume` are brought into the order of those of `on`; the identity where they have it.
///
/// # Errors
/// [`DataError::GridMismatch`] where the two do not lie on one lattice, with the reason where the headers show it;
/// [`DataError::Unusable`] for a volume without three axes.
pub fn reordering(volume: Placed<'_>, on: Placed<'_>) -> Result<Reorientation, DataError> {
    let (here, there) = (volume.grids()?, on.grids()?);
    let mut by_qform = None;
    for (there_is, to) in &there {
        for (here_is, from) in &here {
            match (Reorientation::between(from, to), [here_is, there_is].contains(&&Statement::Qform)) {
                (Some(reordering), false) => return Ok(reordering),
                (Some(_), true) => by_qform = by_qform.or(Some((*here_is, *there_is))),
                (None, _) => {}
            }
        }
    }
    let difference = here[0].1.difference(&there[0].1).expect("grids without a difference are in one order");
    let difference = format!("{difference}{}", reason(volume, on, by_qform));
    Err(DataError::GridMismatch { label: volume.path.to_owned(), image: on.path.to_owned(), difference })
}

/// Why two files differ, as the end of a sentence about `volume`; empty where the headers do not show it.
fn reason(volume: Placed<'_>, on: Placed<'_>, by_qform: Option<(Statement, Statement)>) -> String {
    let (other, unset) = (on.path.display(), "neither sform nor qform is set");
    match by_qform {
        Some((Statement::Qform, Statement::Qform)) => "; only the qforms agree, but the sforms are used".to_owned(),
        Some((Statement::Qform, _)) => "; its qform agrees, but its sform, which differs, is used".to_owned(),
        Some(_) => format!("; it has the qform of {other}, whose sform differs and is used"),
        None if on.has_no_place() => format!("; the place of {other} is a guess: {unset}"),
        None if volume.has_no_place() => format!("; its place is a guess: {unset}"),
        None => String::new(),
    }
}

/// Reads a label map onto the grid of another volume: its voxels in the order of that volume's.
///
/// # Errors
/// [`DataError`] that names the file; that of [`reordering`].
pub fn read_label_map_on(path: &Path, on: Placed<'_>) -> Result<LabelMap, DataError> {
    labels_on(Placed { path, header: &io::read_header(path)? }, on)
}

/// [`read_label_map_on`] of a file whose header was read before.
pub(crate) fn labels_on(labels: Placed<'_>, on: Placed<'_>) -> Result<LabelMap, DataError> {
    let (reordering, grid) = (reordering(labels, on)?, on.header.grid_of_channels(on.path)?);
    Ok(LabelMap { voxels: reordering.applied(io::read_labels(Input::file(labels.path), labels.header)?.voxels), grid })
}

/// Reads an image onto the grid of another volume: its voxels in the order of that volume's.
///
/// # Errors
/// [`DataError`] that names the file; that of [`reordering`].
pub fn read_volume_on(path: &Path, on: Placed<'_>) -> Result<Volume, DataError> {
    let header = io::read_header(path)?;
    let (reordering, grid) = (reordering(Placed { path, header: &header }, on)?, on.header.grid_of_channels(on.path)?);
    Ok(Volume { voxels: reordering.applied(io::read_voxels(Input::file(path), &header)?.voxels), grid })
}
