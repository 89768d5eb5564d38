//! Triangles of a surface between eight neighbouring voxel centres, by which of them are inside: marching cubes (Lorensen and
//! Cline 1987, SIGGRAPH 21:163).
//!
//! The table is that of the package `surface-distance` of DeepMind (Copyright 2018 Google Inc., Apache License 2.0;
//! `lookup_tables.py`), by which surface Dice is defined in practice. Its normals differ in signs only between codes that
//! are equal here; an area needs none. `tools/check_metrics.py` compares the areas of all 256 codes.

/// Lengths of the components x, y, z of the normals of triangles, in eighths of a face of the cube.
type Normals = &'static [[u8; 3]];

/// The different sets of triangles.
#[rustfmt::skip]
const SURFELS: [Normals; 27] = [
    &[],
    &[[1, 1, 1]],
    &[[0, 0, 4], [0, 0, 4]],
    &[[0, 2, 2], [0, 2, 2]],
    &[[0, 4, 0], [0, 4, 0]],
    &[[1, 1, 1], [1, 1, 1]],
    &[[2, 0, 2], [2, 0, 2]],
    &[[2, 2, 0], [2, 2, 0]],
    &[[4, 0, 0], [4, 0, 0]],
    &[[1, 1, 1], [0, 2, 2], [0, 2, 2]],
    &[[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    &[[2, 0, 2], [2, 0, 2], [1, 1, 1]],
    &[[2, 2, 0], [2, 2, 0], [1, 1, 1]],
    &[[2, 2, 2], [1, 1, 1], [0, 0, 4]],
    &[[2, 2, 2], [1, 1, 1], [0, 4, 0]],
    &[[4, 0, 0], [2, 2, 2], [1, 1, 1]],
    &[[0, 2, 2], [0, 2, 2], [0, 2, 2], [0, 2, 2]],
    &[[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]],
    &[[2, 0, 2], [2, 0, 2], [2, 0, 2], [2, 0, 2]],
    &[[2, 2, 0], [2, 2, 0], [2, 2, 0], [2, 2, 0]],
    &[[2, 2, 2], [1, 1, 1], [1, 1, 1], [0, 0, 4]],
    &[[2, 2, 2], [1, 1, 1], [1, 1, 1], [0, 4, 0]],
    &[[2, 2, 2], [2, 2, 2], [1, 1, 1], [1, 1, 1]],
    &[[3, 3, 3], [2, 0, 2], [1, 1, 1], [0, 2, 2]],
    &[[3, 3, 3], [2, 2, 0], [1, 1, 1], [0, 2, 2]],
    &[[3, 3, 3], [2, 2, 0], [2, 0, 2], [1, 1, 1]],
    &[[4, 0, 0], [2, 2, 2], [1, 1, 1], [1, 1, 1]],
];

/// For each code the position of its triangles in [`SURFELS`]. Of the voxel at (x, y, z) of the cube the bit is 7 - 4 x - 2 y - z.
#[rustfmt::skip]
const OF_CODE: [u8; 256] = [
    0, 1, 1, 7, 1, 6, 5, 15, 1, 5, 6, 15, 7, 15, 15, 8, 1, 3, 5, 14, 5, 13, 10, 22, 5, 9, 11, 23, 12, 24, 26, 15,
    1, 5, 3, 14, 5, 11, 9, 23, 5, 10, 13, 22, 12, 26, 24, 15, 7, 14, 14, 4, 12, 25, 21, 14, 12, 21, 25, 14, 19, 12, 12, 7,
    1, 5, 5, 12, 3, 13, 9, 24, 5, 10, 11, 26, 14, 22, 23, 15, 6, 13, 11, 25, 13, 2, 20, 13, 11, 20, 18, 11, 25, 13, 11, 6,
    5, 10, 9, 21, 9, 20, 16, 9, 10, 17, 20, 10, 21, 10, 9, 5, 15, 22, 23, 14, 24, 13, 9, 3, 26, 10, 11, 5, 12, 5, 5, 1,
    1, 5, 5, 12, 5, 11, 10, 26, 3, 9, 13, 24, 14, 23, 22, 15, 5, 9, 10, 21, 10, 20, 17, 10, 9, 16, 20, 9, 21, 9, 10, 5,
    6, 11, 13, 25, 11, 18, 20, 11, 13, 20, 2, 13, 25, 11, 13, 6, 15, 23, 22, 14, 26, 11, 10, 5, 24, 9, 13, 3, 12, 5, 5, 1,
    7, 12, 12, 19, 14, 25, 21, 12, 14, 21, 25, 12, 4, 14, 14, 7, 15, 24, 26, 12, 22, 13, 10, 5, 23, 9, 11, 5, 14, 3, 5, 1,
    15, 26, 24, 12, 23, 11, 9, 5, 22, 10, 13, 5, 14, 5, 3, 1, 8, 15, 15, 7, 15, 6, 5, 1, 15, 5, 6, 1, 7, 1, 1, 0,
];

/// The area in mm² of the surface in a cube between voxel centres of this spacing x, y, z in mm, for each code.
pub(super) fn areas([x, y, z]: [f64; 3]) -> [f64; 256] {
    let faces = [y * z, x * z, x * y];
    let area = |normal: &[u8; 3]| {
        let squares = (0..3).map(|axis| (f64::from(normal[axis]) / 8.0 * faces[axis]).powi(2));
        squares.sum::<f64>().sqrt()
    };
    std::array::from_fn(|code| SURFELS[usize::from(OF_CODE[code])].iter().map(area).sum())
}
