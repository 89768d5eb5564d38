//! What is in a volume file: header, range of the voxels and oddities.

use std::path::Path;

use serde::Serialize;

use super::DataError;
use super::io::input::Input;
use super::io::{self, ByteOrder};

/// The answer of [`inspect`]; serialised it is one object of `inspect --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: String,
    /// Extents x, y, z and further axes, as stored.
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
    /// What a user should know of.
    pub warnings: Vec<String>,
}

/// Reads a whole file of any number of axes. Colours and complex numbers have no minimum, maximum
/// and mean; for them only the header is read.
pub fn inspect(path: &Path) -> Result<Inspection, DataError> {
    inspection_of(Input::file(path))
}

pub(crate) fn inspection_of(input: Input<'_>) -> Result<Inspection, DataError> {
    let path = input.path;
    let header = io::header_of(input)?;
    let mut warnings = header.warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut statistics = Statistics { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, count: 0, nonfinite: 0 };
    if header.scalar.is_real() {
        io::visit_voxels(input, &header, |_| Ok(()), |(), value| statistics.add(value))?;
    } else {
        warnings.push(format!("{} voxels are not one real number each: not usable as an image", header.scalar.name()));
    }
    if statistics.nonfinite > 0 {
        warnings.push(format!("{} voxels are NaN or infinite: not usable as an image", statistics.nonfinite));
    }
    if statistics.count > 0 && statistics.min == statistics.max {
        warnings.push(format!("all voxels have the value {}", statistics.min));
    }
    if header.shape.iter().skip(3).any(|&extent| extent != 1) {
        warnings.push("more than three axes: not usable as an image".into());
    }
    let grid = super::Grid { extents: [1; 3], spacing: header.spacing, affine: header.affine };
    let finite = |value: f64| (statistics.count > 0).then_some(value);
    Ok(Inspection {
        path: path.display().to_string(),
        spacing: header.spacing[..header.shape.len().min(3)].to_vec(),
        shape: header.shape,
        dtype: header.scalar.name(),
        byte_order: if header.byte_order == ByteOrder::Little { "little" } else { "big" },
        affine: header.affine,
        orientation: grid.orientation_code(),
        min: finite(statistics.min),
        max: finite(statistics.max),
        mean: finite(statistics.sum / statistics.count as f64),
        nonfinite: statistics.nonfinite,
        warnings,
    })
}

/// Of the finite voxels, and how many others there are.
struct Statistics {
    min: f64,
    max: f64,
    sum: f64,
    count: usize,
    nonfinite: usize,
}

impl Statistics {
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
