//! From the three descriptions of the geometry in a NIfTI header to the one affine, and back.
//!
//! As nibabel: the sform if its code is above 0, else the qform if its code is above 0, else the
//! extents and spacings alone, centred on the origin, with x running to the left
//! (`Nifti1Header.get_base_affine`). Other than nibabel, and as ITK: an sform whose rows are no three
//! axes does not count beside a qform. All is in the unit of the file here.

use super::header::{Field, RawHeader};
use crate::data::io::axes::{determinant, is_regular, spacing_of};
use crate::data::volume::Grid;

type Affine = [[f64; 4]; 3];

/// What the affine is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Sform,
    Qform,
    /// The file states no place.
    Guess,
}

/// By precedence.
pub(super) fn source(raw: &RawHeader) -> Source {
    let [has_sform, has_qform] = [Field::SFORM_CODE, Field::QFORM_CODE].map(|code| raw.integer(code, 0) > 0);
    match (has_sform, has_qform) {
        (true, true) if !is_regular(&sform(raw)) => Source::Qform,
        (true, _) => Source::Sform,
        (false, true) => Source::Qform,
        (false, false) => Source::Guess,
    }
}

/// Spacing of x, y, z: magnitudes of `pixdim`, and 1 where it is zero, as nibabel mends them.
pub(super) fn spacing(raw: &RawHeader) -> [f64; 3] {
    std::array::from_fn(|axis| match raw.float(Field::PIXDIM, axis + 1).abs() {
        0.0 => 1.0,
        spacing => spacing,
    })
}

/// The affine by precedence.
pub(super) fn best(raw: &RawHeader, shape: &[usize]) -> Affine {
    match source(raw) {
        Source::Sform => sform(raw),
        Source::Qform => qform(raw),
        Source::Guess => centred(shape, spacing(raw)),
    }
}

/// The rows as they stand.
pub(super) fn sform(raw: &RawHeader) -> Affine {
    std::array::from_fn(|row| std::array::from_fn(|column| raw.float(Field::SROW, row * 4 + column)))
}

/// Rotation by a unit quaternion (a, b, c, d), of which b, c, d are stored, times the spacings; z
/// is mirrored where `pixdim[0]` (qfac) is -1. A vector part longer than 1 by rounding is
/// shortened, as nifti1_io does.
pub(super) fn qform(raw: &RawHeader) -> Affine {
    let [mut b, mut c, mut d]: [f64; 3] = std::array::from_fn(|index| raw.float(Field::QUATERN, index));
    let squared = b * b + c * c + d * d;
    let mut a = (1.0 - squared).max(0.0).sqrt();
    // nibabel's threshold (3 float32 eps below zero still counts as zero) and nifti1_io's agree up
    // to here.
    if 1.0 - squared < 1e-7 {
        let length = squared.sqrt();
        (a, b, c, d) = (0.0, b / length, c / length, d / length);
    }
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let mut scale = spacing(raw);
    if raw.float(Field::PIXDIM, 0) == -1.0 {
        scale[2] = -scale[2];
    }
    std::array::from_fn(|row| {
        let [x, y, z]: [f64; 3] = std::array::from_fn(|column| rotation[row][column] * scale[column]);
        [x, y, z, raw.float(Field::QOFFSET, row)]
    })
}

/// Without sform and qform.
fn centred(shape: &[usize], [x, y, z]: [f64; 3]) -> Affine {
    let mut affine = [[-x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0]];
    for (axis, row) in affine.iter_mut().enumerate() {
        row[3] = -row[axis] * (shape.get(axis).copied().unwrap_or(1) as f64 - 1.0) / 2.0;
    }
    affine
}

/// Where ITK puts a file that states no place: its first voxel at the origin, x to the left and y to the back.
pub(super) fn at_origin(raw: &RawHeader) -> Affine {
    let [x, y, z] = spacing(raw);
    [[-x, 0.0, 0.0, 0.0], [0.0, -y, 0.0, 0.0], [0.0, 0.0, z, 0.0]]
}

/// The header, of which all statements say the affine that is used, as far as that takes nothing from it: other programs read
/// the spacing from `pixdim` (ITK) and the sform even if its rows are no three axes (nibabel). A qform that is another geometry stays,
/// with the `pixdim` that belongs to it, so that an output lies on its image in programs that follow the qform.
pub(super) fn reconciled(raw: &RawHeader, shape: &[usize]) -> RawHeader {
    let (mut raw, used) = (raw.clone(), best(raw, shape));
    if source(&raw) == Source::Qform && raw.integer(Field::SFORM_CODE, 0) > 0 {
        set_sform(&mut raw, &used);
    }
    let mut mended = raw.clone();
    for (axis, spacing) in spacing_of(&used, spacing(&raw), shape.len()).into_iter().enumerate().take(shape.len()) {
        // Where it was right, its bits stay.
        if spacing != raw.float(Field::PIXDIM, axis + 1) {
            mended.set_float(Field::PIXDIM, axis + 1, spacing);
        }
    }
    let follows = |raw: &RawHeader| {
        let extents = std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1));
        let grid = |affine| Grid { extents, spacing: spacing(raw), affine };
        grid(qform(raw)).same_grid(&grid(used))
    };
    if raw.integer(Field::QFORM_CODE, 0) <= 0 || follows(&mended) { mended } else { raw }
}

fn set_sform(raw: &mut RawHeader, affine: &Affine) {
    for (index, value) in affine.iter().flatten().enumerate() {
        raw.set_float(Field::SROW, index, *value);
    }
}

/// Writes the geometry of a grid: the sform always, the qform too if the axes are orthogonal (a
/// quaternion holds no shear); both with code 1, scanner coordinates.
pub(super) fn store(raw: &mut RawHeader, grid: &Grid) {
    let grid = &Grid { spacing: spacing_of(&grid.affine, grid.spacing, 3), ..grid.clone() };
    for (axis, spacing) in grid.spacing.into_iter().enumerate() {
        raw.set_float(Field::PIXDIM, axis + 1, spacing);
    }
    raw.set_float(Field::PIXDIM, 0, 1.0);
    raw.set_integer(Field::SFORM_CODE, 0, 1);
    set_sform(raw, &grid.affine);
    for (row, values) in grid.affine.iter().enumerate() {
        raw.set_float(Field::QOFFSET, row, values[3]);
    }
    let Some((quaternion, qfac)) = quaternion_of(grid) else {
        raw.set_integer(Field::QFORM_CODE, 0, 0);
        return;
    };
    raw.set_integer(Field::QFORM_CODE, 0, 1);
    raw.set_float(Field::PIXDIM, 0, qfac);
    for (index, part) in quaternion.into_iter().enumerate() {
        raw.set_float(Field::QUATERN, index, part);
    }
}

/// Vector part (b, c, d) of the rotation's quaternion with scalar part >= 0, and qfac; none if
/// affine / spacing is not a rotation or a mirrored one. The branches avoid dividing by a small
/// number (nifti_mat44_to_quatern of nifti1_io.c).
fn quaternion_of(grid: &Grid) -> Option<([f64; 3], f64)> {
    let mut r: [[f64; 3]; 3] =
        std::array::from_fn(|row| std::array::from_fn(|column| grid.affine[row][column] / grid.spacing[column]));
    for first in 0..3 {
        for second in first..3 {
            let dot: f64 = (0..3).map(|row| r[row][first] * r[row][second]).sum();
            let expected = if first == second { 1.0 } else { 0.0 };
            if (dot - expected).abs() > 1e-4 {
                return None;
            }
        }
    }
    let qfac = if determinant(&r) < 0.0 { -1.0 } else { 1.0 };
    for row in &mut r {
        row[2] *= qfac;
    }
    let trace = 1.0 + r[0][0] + r[1][1] + r[2][2];
    let next = |axis: usize| [(axis + 1) % 3, (axis + 2) % 3];
    let odd = |axis: usize| {
        let [j, k] = next(axis);
        r[k][j] - r[j][k]
    };
    let (mut a, mut vector);
    if trace > 0.5 {
        a = 0.5 * trace.sqrt();
        vector = [0, 1, 2].map(|axis| 0.25 * odd(axis) / a);
    } else {
        let squared = |i: usize| {
            let [j, k] = next(i);
            1.0 + r[i][i] - (r[j][j] + r[k][k])
        };
        let i = (0..2).find(|&axis| squared(axis) > 1.0).unwrap_or(2);
        let part = 0.5 * squared(i).sqrt();
        vector = [0, 1, 2].map(|axis| if axis == i { part } else { 0.25 * (r[i][axis] + r[axis][i]) / part });
        a = 0.25 * odd(i) / part;
    }
    if a < 0.0 {
        (a, vector) = (-a, vector.map(|part| -part));
    }
    debug_assert!(a >= 0.0, "the scalar part is not stored, so it must not be negative");
    Some((vector, qfac))
}
