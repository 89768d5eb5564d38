//! What every format asks of an affine: three independent axes, and whether they agree with the spacing.

use crate::data::Warning;

/// A stated spacing is kept if it differs from the length of the affine's column by no more than this part: an affine of
/// float32, or of text with five digits, is not more exact.
const ROUNDING: f64 = 1e-4;

/// A stated spacing that differs by more is worth a warning: 1 mm on an organ of 10 cm.
const NOTABLE: f64 = 0.01;

/// Spacings further apart than this ratio make a volume anisotropic enough to warn.
const ANISOTROPY_WARNING: f64 = 5.0;

/// The affine from voxel indices to RAS+ mm that a file states besides the one that is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OtherAffine {
    /// Three rows of four.
    pub affine: [[f64; 4]; 3],
    /// What it is.
    pub statement: Statement,
}

/// What an affine of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The one that is used.
    Used,
    /// What other programs (ITK and all that are built on it) assume where the file states nothing: as good as the one
    /// that is used.
    Assumed,
    /// The qform of a file whose sform is used.
    Qform,
}

pub(super) fn determinant(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// True if the three columns span space: the volume of the unit cell is not negligible against
/// their lengths.
pub(super) fn is_regular(affine: &[[f64; 4]; 3]) -> bool {
    let linear: [[f64; 3]; 3] = std::array::from_fn(|row| [affine[row][0], affine[row][1], affine[row][2]]);
    let lengths: f64 = column_lengths(affine).iter().product();
    affine.iter().flatten().all(|v| v.is_finite()) && determinant(&linear).abs() > 1e-6 * lengths
}

/// Length of the three columns: the spacings that the affine implies, mm.
pub(super) fn column_lengths(affine: &[[f64; 4]; 3]) -> [f64; 3] {
    std::array::from_fn(|column| affine.iter().map(|row| row[column] * row[column]).sum::<f64>().sqrt())
}

/// From LPS to RAS, or from RAS to LPS: the first two world axes change their sign.
pub(super) fn ras_from_lps(mut affine: [[f64; 4]; 3]) -> [[f64; 4]; 3] {
    // Zeros stay positive, for a person who reads them.
    affine[..2].iter_mut().flatten().for_each(|value| *value = 0.0 - *value);
    affine
}

/// Spacings of the first `axes` axes: the `stated` one where it agrees with the affine, else the affine's, so that distances and
/// volumes follow from the geometry. 1 for axes that are not there.
pub(super) fn spacing_of(affine: &[[f64; 4]; 3], stated: [f64; 3], axes: usize) -> [f64; 3] {
    let lengths = column_lengths(affine);
    std::array::from_fn(|axis| match axis < axes {
        true if (lengths[axis] / stated[axis] - 1.0).abs() <= ROUNDING => stated[axis],
        true => lengths[axis],
        false => 1.0,
    })
}

/// Oddities of the geometry that a user should know of: `stated` spacings that disagree with the affine, and anisotropy. `axes`
/// is the number of axes in the file.
pub(super) fn warnings_of(affine: &[[f64; 4]; 3], stated: [f64; 3], axes: usize) -> Vec<Warning> {
    let (mut warnings, axes) = (Vec::new(), axes.min(3));
    let spacing = spacing_of(affine, stated, axes);
    // A stated 0 or NaN is off by any measure.
    let agrees = |axis: usize| (spacing[axis] / stated[axis] - 1.0).abs() <= NOTABLE;
    if !(0..axes).all(agrees) {
        let kind = "the spacing (pixdim, ElementSpacing) disagrees with the affine, whose lengths are used";
        let detail = format!("{:?} mm and {:?} mm", rounded(&stated[..axes]), rounded(&spacing[..axes]));
        warnings.push(Warning::with(kind, detail));
    }
    let present = &spacing[..axes];
    let largest = present.iter().copied().fold(0.0, f64::max);
    let smallest = present.iter().copied().fold(f64::INFINITY, f64::min);
    if largest > ANISOTROPY_WARNING * smallest {
        warnings.push(Warning::information("anisotropic", format!("spacings from {smallest} to {largest} mm")));
    }
    warnings
}

/// For a person: no digits that float32 does not have.
fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
