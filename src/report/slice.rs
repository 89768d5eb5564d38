//! Slices through a volume as pictures with square pixels in mm.
//!
//! Volumes are canonical (RAS+): x grows to the patient's right, y to the front, z to the head. Pictures follow the
//! radiological convention: axial as seen from the feet, coronal as seen from the front, both with the patient's right
//! on the viewer's left; sagittal with the front on the viewer's left; front and head are up.

/// A plane through the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    Axial,
    Sagittal,
    Coronal,
}

impl Plane {
    /// In the order of panels.
    pub(crate) const ALL: [Self; 3] = [Self::Axial, Self::Sagittal, Self::Coronal];

    /// Volume axes (0 x, 1 y, 2 z) along columns, rows and through the plane. Columns and rows both run from the axis's
    /// high end to its low end.
    pub(crate) fn axes(self) -> [usize; 3] {
        [[0, 1, 2], [1, 2, 0], [0, 2, 1]][self as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        ["axial", "sagittal", "coronal"][self as usize]
    }

    /// Letters of the patient's directions at the picture's left, right, top and bottom.
    pub(crate) fn directions(self) -> [&'static str; 4] {
        [["R", "L", "A", "P"], ["A", "P", "S", "I"], ["R", "L", "S", "I"]][self as usize]
    }
}

/// A slice to be drawn: its plane and position, the part of it shown, and the magnification.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceView {
    pub plane: Plane,
    /// Index of the slice along the plane's normal.
    pub position: usize,
    /// Part of the volume shown, per volume axis, in mm from the outer face of voxel 0.
    pub shown: [(f64, f64); 3],
    /// Pixels per mm.
    pub scale: f64,
}

impl SliceView {
    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        let [columns, rows, _] = self.plane.axes();
        let pixels = |axis: usize| ((self.shown[axis].1 - self.shown[axis].0) * self.scale).round().max(1.0) as usize;
        (pixels(columns), pixels(rows))
    }

    /// Where, in mm along the volume's axis, the centre of column or row `pixel` lies.
    fn millimetres(&self, axis: usize, pixel: usize) -> f64 {
        self.shown[axis].1 - (pixel as f64 + 0.5) / self.scale
    }

    /// Labels of the nearest voxels, row by row.
    pub(crate) fn labels(&self, labels: &[u16], extents: [usize; 3], spacing: [f64; 3]) -> Vec<u16> {
        let [columns, rows, normal] = self.plane.axes();
        let (width, height) = self.size();
        let nearest = |axis: usize, pixel| {
            let voxel = (self.millimetres(axis, pixel) / spacing[axis]).floor();
            voxel.clamp(0.0, extents[axis] as f64 - 1.0) as usize * stride(axis, extents)
        };
        let across: Vec<usize> = (0..width).map(|pixel| nearest(columns, pixel)).collect();
        let base = self.position * stride(normal, extents);
        let row = |pixel| base + nearest(rows, pixel);
        (0..height).flat_map(|y| across.iter().map(move |x| labels[row(y) + x])).collect()
    }

    /// Intensities, linear between voxel centres in the plane, row by row; constant beyond the outermost centres.
    pub(crate) fn intensities(&self, image: &[f32], extents: [usize; 3], spacing: [f64; 3]) -> Vec<f32> {
        let [columns, rows, normal] = self.plane.axes();
        let (width, height) = self.size();
        let between = |axis: usize, pixel| {
            let last = extents[axis] as f64 - 1.0;
            let voxel = (self.millimetres(axis, pixel) / spacing[axis] - 0.5).clamp(0.0, last);
            let (below, above) = (voxel.floor() as usize, voxel.ceil() as usize);
            (below * stride(axis, extents), above * stride(axis, extents), voxel.fract() as f32)
        };
        let across: Vec<_> = (0..width).map(|pixel| between(columns, pixel)).collect();
        let base = self.position * stride(normal, extents);
        let mix = |a: f32, b: f32, weight: f32| if weight > 0.0 { a + (b - a) * weight } else { a };
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let (above, below, down) = between(rows, y);
            for &(left, right, along) in &across {
                let line = |row: usize| mix(image[base + row + left], image[base + row + right], along);
                pixels.push(mix(line(above), line(below), down));
            }
        }
        pixels
    }
}

/// Step between neighbours along an axis, x fastest.
fn stride(axis: usize, extents: [usize; 3]) -> usize {
    extents[..axis].iter().product()
}

/// Pixels of a shape, whose labels are `inside`, that have another label within `thickness` pixels (chessboard distance): the
/// inner outline. The picture's edge is not an outline, the shape may go on beyond it.
pub(crate) fn outline(
    labels: &[u16],
    width: usize,
    inside: impl Fn(u16) -> bool,
    thickness: usize,
) -> Vec<(usize, usize)> {
    let height = labels.len() / width.max(1);
    let differs_near = |x: usize, y: usize| {
        let rows = y.saturating_sub(thickness)..(y + thickness + 1).min(height);
        let columns = x.saturating_sub(thickness)..(x + thickness + 1).min(width);
        rows.into_iter().any(|row| labels[row * width..][columns.clone()].iter().any(|&label| !inside(label)))
    };
    let of_shape = (0..labels.len()).filter(|&at| inside(labels[at])).map(|at| (at % width, at / width));
    of_shape.filter(|&(x, y)| differs_near(x, y)).collect()
}
