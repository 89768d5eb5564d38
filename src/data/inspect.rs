//! What is in a volume file: header, range of the voxels and oddities.

use std::path::Path;

use serde::Serialize;

use super::DataError;
use super::io::input::Input;
use super::io::{self, ByteOrder, MOST_CHANNELS, SeriesChoice};

/// The answer of [`inspect`]; serialised it is one object of `inspect --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: String,
    /// Extents x, y, z and further axes; the axis of the channels follows z.
    pub shape: Vec<usize>,
    /// Type of a voxel in the file, as numpy names it.
    pub dtype: &'static str,
    /// "little" or "big".
    pub byte_order: &'static str,
    /// Spacing of the spatial axes that are there (at most x, y, z), mm.
    pub spacing: Vec<f64>,
    /// Voxel indices to RAS+ mm, three rows of four.
    pub affine: [[f64; 4]; 3],
    /// The directions in which x, y, z rise, as nibabel's axcodes.
    pub orientation: String,
    /// Smallest finite voxel after scaling; none if no voxel is a finite real number.
    pub min: Option<f64>,
    /// Largest finite voxel after scaling.
    pub max: Option<f64>,
    /// Mean of the finite voxels after scaling.
    pub mean: Option<f64>,
    /// Number of voxels that are NaN or infinite.
    pub nonfinite: usize,
    /// The same of each channel, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelRange>,
    /// What a user should know of.
    pub warnings: Vec<String>,
}

/// What [`Inspection`] says of the voxels, for one channel of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelRange {
    /// Smallest finite voxel after scaling; none if no voxel is finite.
    pub min: Option<f64>,
    /// Largest finite voxel after scaling.
    pub max: Option<f64>,
    /// Mean of the finite voxels after scaling.
    pub mean: Option<f64>,
    /// Number of voxels that are NaN or infinite.
    pub nonfinite: usize,
}

/// Reads a whole file of any number of axes. Colours and complex numbers have no minimum, maximum
/// and mean; for them only the header is read.
pub fn inspect(path: &Path) -> Result<Inspection, DataError> {
    inspection_of(Input::file(path))
}

/// As [`inspect()`], of one series of a folder that holds several.
pub fn inspect_series(path: &Path, series: &SeriesChoice) -> Result<Inspection, DataError> {
    inspection_of(Input::file(path).of_series(series))
}

pub(crate) fn inspection_of(input: Input<'_>) -> Result<Inspection, DataError> {
    let path = input.path;
    let header = io::header_of(input)?;
    let mut warnings = header.warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut channels = Vec::new();
    if header.scalar.is_real() {
        channels = channels_of(input, &header)?;
    } else {
        warnings.push(format!("{} voxels are not one real number each: not usable as an image", header.scalar.name()));
    }
    let statistics = channels.iter().fold(Statistics::NONE, Statistics::with);
    if statistics.nonfinite > 0 {
        warnings.push(format!("{} voxels are NaN or infinite: not usable as an image", statistics.nonfinite));
    }
    if statistics.count > 0 && statistics.min == statistics.max {
        warnings.push(format!("all voxels have the value {}", statistics.min));
    }
    if header.shape.len() > 3 && header.channels(path).is_err() {
        warnings.push(format!(
            "the axes after x, y, z are no axis of 1 to {MOST_CHANNELS} channels: not usable as an image"
        ));
    }
    let grid = super::Grid { extents: [1; 3], spacing: header.spacing, affine: header.affine };
    let ChannelRange { min, max, mean, nonfinite } = statistics.range();
    let several = channels.iter().filter(|_| channels.len() > 1);
    Ok(Inspection {
        path: path.display().to_string(),
        spacing: header.spacing[..header.shape.len().min(3)].to_vec(),
        shape: header.shape,
        dtype: header.scalar.name(),
        byte_order: if header.byte_order == ByteOrder::Little { "little" } else { "big" },
        affine: header.affine,
        orientation: grid.orientation_code(),
        min,
        max,
        mean,
        nonfinite,
        channels: several.map(Statistics::range).collect(),
        warnings,
    })
}

/// Of every channel; of all voxels together where the axes are no channels.
fn channels_of(input: Input<'_>, header: &io::Header) -> Result<Vec<Statistics>, DataError> {
    match header.channels(input.path) {
        Ok(_) => {
            let none = |_, channels| Ok(vec![Statistics::NONE; channels]);
            io::visit_channels(input, header, none, |channels, channel, value| channels[channel].add(value))
        }
        Err(_) => io::visit_voxels(input, header, |_| Ok(vec![Statistics::NONE]), |all, value| all[0].add(value)),
    }
}

/// Of the finite voxels, and how many others there are.
#[derive(Clone)]
struct Statistics {
    min: f64,
    max: f64,
    sum: f64,
    count: usize,
    nonfinite: usize,
}

impl Statistics {
    /// Of no voxels.
    const NONE: Statistics =
        Statistics { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, count: 0, nonfinite: 0 };

    /// Of these voxels and others.
    fn with(self, other: &Statistics) -> Statistics {
        Statistics {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            count: self.count + other.count,
            nonfinite: self.nonfinite + other.nonfinite,
        }
    }

    fn range(&self) -> ChannelRange {
        let finite = |value: f64| (self.count > 0).then_some(value);
        let mean = finite(self.sum / self.count as f64);
        ChannelRange { min: finite(self.min), max: finite(self.max), mean, nonfinite: self.nonfinite }
    }

    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.nonfinite += 1;
            return;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        self.count += 1;
    }
}
