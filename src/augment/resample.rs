use super::image::ImageShape;
use crate::graph::{Lowering, Op};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Cells of the deformation's mesh along each axis: the paper's 2 x 2 x 2.
const MESH: usize = 2;

/// Voxels between the outer faces of the output and the ends of the mesh.
const MESH_MARGIN: f64 = 0.125;

/// Control points along each axis of a mesh for cubic splines.
pub(super) const CONTROL_POINTS: usize = MESH + 3;

/// Numbers of one sample: matrix (9, row by row), offset (3), then the control points' displacements along z, y, x
/// (each [`CONTROL_POINTS`]^3, x fastest). All axes are in the order z, y, x.
pub(super) const RESAMPLE_PARAMETERS: usize = 12 + 3 * CONTROL_POINTS * CONTROL_POINTS * CONTROL_POINTS;

/// Image `[N, D, H, W, C]` and labels `[N, D, H, W]` to `extents`: output voxel p is taken from the point `A p + b + d(p)` of the
/// source, where d is a cubic B-spline on a mesh of 2 x 2 x 2 cells over the output (ITK's `BSplineTransform` of order 3). All
/// channels and the labels move alike.
///
/// The image is linear between voxels. A label is the one with the largest linear weight, the lowest of equals. So it is always
/// one of the eight around the point, whatever labels stand for: the number of a class, a mask of regions, or `0xffff_ffff`
/// where a voxel is ignored, which loses to a class of the same weight. Outside the source the image is 0 and the label is 0:
/// background, not ignored. Inputs: image, labels, parameters `[N, RESAMPLE_PARAMETERS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resample {
    /// Output extents `[D, H, W]`.
    pub extents: [usize; 3],
}

/// The weights of the four control points around parameter `t` in [0, 1] of a cell (uniform cubic B-spline).
fn cubic_b_spline(t: f64) -> [f64; 4] {
    let s = 1.0 - t;
    [s * s * s, t * t * (3.0 * t - 6.0) + 4.0, s * s * (3.0 * s - 6.0) + 4.0, t * t * t].map(|w| w / 6.0)
}

impl Resample {
    /// Mesh cells per voxel along an axis: the mesh covers the voxels and [`MESH_MARGIN`] beyond, as
    /// `itk::BSplineTransformInitializer`'s.
    fn cells_per_voxel(extent: usize) -> f32 {
        (MESH as f64 / (extent as f64 + 2.0 * MESH_MARGIN)) as f32
    }

    /// The first control point and the weights of an output coordinate.
    fn along(self, axis: usize, at: usize) -> (usize, [f64; 4]) {
        let u = (at as f64 + 0.5 + MESH_MARGIN) * f64::from(Self::cells_per_voxel(self.extents[axis]));
        let cell = (u as usize).min(MESH - 1);
        (cell, cubic_b_spline(u - cell as f64))
    }

    /// The displacement z, y, x of output voxel `at` (z, y, x) by the numbers of one sample, in f64.
    fn displacement(self, parameters: &[f64], at: [usize; 3]) -> [f64; 3] {
        let [(z, wz), (y, wy), (x, wx)] = [0, 1, 2].map(|axis| self.along(axis, at[axis]));
        let n = CONTROL_POINTS;
        std::array::from_fn(|component| {
            let points = &parameters[12 + component * n * n * n..];
            let mut sum = 0.0;
            for (i, a) in wz.iter().enumerate() {
                for (j, b) in wy.iter().enumerate() {
                    for (k, c) in wx.iter().enumerate() {
                        sum += a * b * c * points[((z + i) * n + y + j) * n + x + k];
                    }
                }
            }
            sum
        })
    }

    /// The source point z, y, x of output voxel `at`.
    pub fn source_point(self, parameters: &[f64], at: [usize; 3]) -> [f64; 3] {
        let displacement = self.displacement(parameters, at);
        std::array::from_fn(|row| {
            let linear: f64 = (0..3).map(|column| parameters[3 * row + column] * at[column] as f64).sum();
            linear + parameters[9 + row] + displacement[row]
        })
    }
}

/// The eight voxels around a point and their weights; `None` for those outside.
fn corners(point: [f64; 3], extents: [usize; 3]) -> [(Option<usize>, f64); 8] {
    let low = point.map(f64::floor);
    std::array::from_fn(|corner| {
        let mut index = Some(0);
        let mut weight = 1.0;
        for axis in 0..3 {
            let upper = corner >> (2 - axis) & 1;
            let fraction = point[axis] - low[axis];
            weight *= if upper == 1 { fraction } else { 1.0 - fraction };
            let at = low[axis] + upper as f64;
            let inside = at >= 0.0 && at < extents[axis] as f64;
            index = index.filter(|_| inside).map(|i| i * extents[axis] + at as usize);
        }
        (index, weight)
    })
}

/// The label with the largest sum of weights, the lowest of equals.
fn heaviest(labels: &[(f64, f64); 8]) -> f64 {
    let weight_of = |label: f64| labels.iter().filter(|(l, _)| *l == label).map(|(_, w)| w).sum::<f64>();
    let better = |best: (f64, f64), label: f64| {
        let weight = weight_of(label);
        if weight > best.1 || (weight == best.1 && label < best.0) { (label, weight) } else { best }
    };
    labels.iter().map(|(label, _)| *label).fold((0.0, weight_of(0.0)), better).0
}

impl Op for Resample {
    fn name(&self) -> &'static str {
        "augment_resample"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [image, labels, parameters] = inputs
            && let [n, d, h, w, c] = image.shape[..]
            && **image == TensorSpec::f32([n, d, h, w, c])
            && **labels == TensorSpec::u32([n, d, h, w])
            && **parameters == TensorSpec::f32([n, RESAMPLE_PARAMETERS])
        {
            let [d, h, w] = self.extents;
            return Ok(vec![TensorSpec::f32([n, d, h, w, c]), TensorSpec::u32([n, d, h, w])]);
        }
        let expected =
            format!("image f32 [N, D, H, W, C], labels u32 [N, D, H, W] and numbers f32 [N, {RESAMPLE_PARAMETERS}]");
        Err(ShapeError::new(self.name(), expected, inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let ImageShape { samples, extents: source, channels } = ImageShape::of(at.input_spec(0));
        let to = ImageShape { samples, extents: self.extents, channels };
        let dispatch = to.dispatch("augment_resample").params(&source).params(&to.extents).param(to.rows());
        let dispatch = self.extents.iter().fold(dispatch, |d, &extent| d.scalar(Self::cells_per_voxel(extent)));
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).read(at.input(2));
        let dispatch = dispatch.write(at.output(0)).write(at.output(1));
        at.emit(dispatch.linear_grid(to.rows(), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let ImageShape { samples, extents: source, channels } = ImageShape::of(&inputs[0].spec);
        let [d, h, w] = self.extents;
        let (from, to) = (source.iter().product::<usize>(), d * h * w);
        let mut image = HostTensor::zeros(TensorSpec::f32([samples, d, h, w, channels]));
        let mut labels = HostTensor::zeros(TensorSpec::u32([samples, d, h, w]));
        for (i, (values, label)) in image.data.chunks_exact_mut(channels).zip(&mut labels.data).enumerate() {
            let (sample, voxel) = (i / to, i % to);
            let parameters = &inputs[2].data[sample * RESAMPLE_PARAMETERS..][..RESAMPLE_PARAMETERS];
            let point = self.source_point(parameters, [voxel / (h * w), voxel / w % h, voxel % w]);
            let around = corners(point, source).map(|(index, weight)| (index.map(|i| sample * from + i), weight));
            for (channel, value) in values.iter_mut().enumerate() {
                let read = |index: Option<usize>| index.map_or(0.0, |i| inputs[0].data[i * channels + channel]);
                *value = around.iter().map(|&(index, weight)| weight * read(index)).sum();
            }
            let read = |index: Option<usize>| index.map_or(0.0, |i| inputs[1].data[i]);
            *label = heaviest(&around.map(|(index, weight)| (read(index), weight)));
        }
        vec![image, labels]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        // 3 x 4 products of the spline, 9 of the matrix, and 8 of the interpolation of each channel at each output voxel.
        let shape = ImageShape::of(inputs[0]);
        (shape.samples * self.extents.iter().product::<usize>() * (42 + 16 * shape.channels)) as u64
    }
}
