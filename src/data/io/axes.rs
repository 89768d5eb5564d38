//! What every format asks of an affine: three independent axes, and whether they agree with the spacing.

use crate::data::Warning;

/// Spacings further apart than this ratio make a volume anisotropic enough to warn.
const ANISOTROPY_WARNING: f64 = 5.0;

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

/// Oddities of the geometry that a user should know of; `axes` is the number of axes that are there.
pub(super) fn warnings_of(affine: &[[f64; 4]; 3], spacing: [f64; 3], axes: usize) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let implied = column_lengths(affine);
    if (0..3).any(|axis| (implied[axis] / spacing[axis] - 1.0).abs() > 0.01) {
        let detail = format!("{spacing:?} mm and {implied:.4?} mm");
        warnings.push(Warning::with("spacing and affine disagree", detail));
    }
    let present = &spacing[..axes.min(3)];
    let largest = present.iter().copied().fold(0.0, f64::max);
    let smallest = present.iter().copied().fold(f64::INFINITY, f64::min);
    if largest > ANISOTROPY_WARNING * smallest {
        warnings.push(Warning::information("anisotropic", format!("spacings from {smallest} to {largest} mm")));
    }
    warnings
}
