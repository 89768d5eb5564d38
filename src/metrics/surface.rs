//! Distances between the surfaces of two segmentations, in mm.
//!
//! The surface S of a shape is the set of its voxels with a background voxel, or the volume's border, among their six
//! neighbours: the shape minus its erosion by the 6-neighbour cross, as in MONAI's `get_mask_edges` and MedPy. With
//! d(a, B) the Euclidean distance in mm from the centre of voxel a to the nearest centre of B, and P, R the surfaces of
//! prediction and reference:
//!
//! | score | definition |
//! |---|---|
//! | Hausdorff | max( max d(p, R), max d(r, P) ); Huttenlocher et al. 1993, IEEE PAMI 15:850 |
//! | HD95 | max( q95 d(p, R), q95 d(r, P) ), q95 the 95th percentile by linear interpolation; MONAI, PROMISE12 |
//! | average | ( Σ d(p, R) + Σ d(r, P) ) / ( n(P) + n(R) ); the ABD of PROMISE12, Litjens et al. 2014, Med Image Anal 18:359 |
//!
//! (The "Hausdorff distance" in Table 2 of the V-Net paper comes from PROMISE12, which reports its 95th percentile.)
//! Distances come from an exact Euclidean distance transform, separable over the axes and linear in the voxels:
//! Felzenszwalb and Huttenlocher 2012, Theory of Computing 8:415, here with a spacing per axis.

use super::{MetricError, check_spacing, check_voxels, percentile};

/// Symmetric distances between the surfaces of a prediction and a reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurfaceDistances {
    /// Hausdorff distance in mm.
    pub hausdorff_mm: f64,
    /// 95th-percentile Hausdorff distance in mm.
    pub hausdorff95_mm: f64,
    /// Average symmetric surface distance in mm.
    pub average_mm: f64,
}

/// Surface distances of `class` in two label maps; `None` when the class is absent from either.
///
/// Label maps have x fastest; `extents` are x, y, z in voxels, `spacing` x, y, z in mm.
///
/// # Errors
/// When a label map does not fill the extents, or the spacing is not positive.
///
/// ```
/// use vnet_engine::metrics::surface_distances;
///
/// // A voxel that was found one slice too high.
/// let distances = surface_distances(&[0, 0, 0, 1], &[0, 0, 1, 0], 1, [1, 1, 4], [0.5, 0.5, 3.0])?;
/// assert_eq!(distances.map(|d| d.hausdorff_mm), Some(3.0));
/// # Ok::<(), vnet_engine::metrics::MetricError>(())
/// ```
pub fn surface_distances(
    prediction: &[u16],
    reference: &[u16],
    class: u16,
    extents: [usize; 3],
    spacing: [f64; 3],
) -> Result<Option<SurfaceDistances>, MetricError> {
    check_voxels("prediction", prediction.len(), extents)?;
    check_voxels("reference", reference.len(), extents)?;
    check_spacing(spacing)?;
    // Beyond the box of both shapes everything is background, so cropping to it changes neither surface nor distance.
    let (Some(a), Some(b)) = (Box3::around(prediction, class, extents), Box3::around(reference, class, extents)) else {
        return Ok(None);
    };
    let crop = a.union(b);
    let surface_p = surface(prediction, class, extents, crop);
    let surface_r = surface(reference, class, extents, crop);
    let to_reference = distances(&surface_p, &surface_r, crop.extents(), spacing);
    let to_prediction = distances(&surface_r, &surface_p, crop.extents(), spacing);
    Ok(Some(summarise(&to_reference, &to_prediction)))
}

/// The three scores of two non-empty ascending lists of distances.
fn summarise(to_reference: &[f64], to_prediction: &[f64]) -> SurfaceDistances {
    let larger = |percent| {
        let of = |ascending| percentile(ascending, percent).expect("a shape that is not empty has a surface");
        f64::max(of(to_reference), of(to_prediction))
    };
    let sum: f64 = to_reference.iter().sum::<f64>() + to_prediction.iter().sum::<f64>();
    let count = (to_reference.len() + to_prediction.len()) as f64;
    SurfaceDistances { hausdorff_mm: larger(100.0), hausdorff95_mm: larger(95.0), average_mm: sum / count }
}

/// Half-open box of voxels, x, y, z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Box3 {
    start: [usize; 3],
    end: [usize; 3],
}

impl Box3 {
    /// The smallest box around the voxels of `class`; `None` when there are none.
    fn around(labels: &[u16], class: u16, extents: [usize; 3]) -> Option<Self> {
        let mut found: Option<Self> = None;
        for (row, voxels) in labels.chunks_exact(extents[0].max(1)).enumerate() {
            let Some(first) = voxels.iter().position(|&label| label == class) else { continue };
            let last = voxels.iter().rposition(|&label| label == class).unwrap_or(first);
            let (y, z) = (row % extents[1], row / extents[1]);
            let line = Self { start: [first, y, z], end: [last + 1, y + 1, z + 1] };
            found = Some(found.map_or(line, |other| other.union(line)));
        }
        found
    }

    /// Widens the boxes of all labels, by label, to the voxels of a map: one pass for any number of labels.
    pub(super) fn widen(boxes: &mut [Option<Self>], labels: &[u16], extents: [usize; 3]) {
        for (row, voxels) in labels.chunks_exact(extents[0].max(1)).enumerate() {
            let (y, z) = (row % extents[1], row / extents[1]);
            let mut first = 0;
            for run in voxels.chunk_by(|a, b| a == b) {
                let line = Self { start: [first, y, z], end: [first + run.len(), y + 1, z + 1] };
                let found = &mut boxes[usize::from(run[0])];
                *found = Some(found.map_or(line, |other| other.union(line)));
                first += run.len();
            }
        }
    }

    /// The voxels of the box.
    pub(super) fn crop(self, labels: &[u16], extents: [usize; 3]) -> Vec<u16> {
        let rows = (self.start[2]..self.end[2]).flat_map(|z| (self.start[1]..self.end[1]).map(move |y| (y, z)));
        let row = |(y, z): (usize, usize)| {
            let start = (z * extents[1] + y) * extents[0];
            &labels[start + self.start[0]..start + self.end[0]]
        };
        rows.flat_map(row).copied().collect()
    }

    fn union(self, other: Self) -> Self {
        Self {
            start: std::array::from_fn(|axis| self.start[axis].min(other.start[axis])),
            end: std::array::from_fn(|axis| self.end[axis].max(other.end[axis])),
        }
    }

    pub(super) fn extents(self) -> [usize; 3] {
        std::array::from_fn(|axis| self.end[axis] - self.start[axis])
    }
}

/// Marks, inside `crop`, the voxels of `class` that have a 6-neighbour outside the class or outside the volume.
fn surface(labels: &[u16], class: u16, extents: [usize; 3], crop: Box3) -> Vec<bool> {
    let strides = [1, extents[0], extents[0] * extents[1]];
    let mut marked = Vec::with_capacity(crop.extents().iter().product());
    for z in crop.start[2]..crop.end[2] {
        for y in crop.start[1]..crop.end[1] {
            for x in crop.start[0]..crop.end[0] {
                let at = x + y * strides[1] + z * strides[2];
                let exposed = |axis: usize| {
                    let position = [x, y, z][axis];
                    position == 0
                        || position + 1 == extents[axis]
                        || labels[at - strides[axis]] != class
                        || labels[at + strides[axis]] != class
                };
                marked.push(labels[at] == class && (0..3).any(exposed));
            }
        }
    }
    marked
}

/// Ascending distances in mm from every marked voxel of `from` to the nearest marked voxel of `to`.
fn distances(from: &[bool], to: &[bool], extents: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let squared = squared_distance_transform(to, extents, spacing);
    let mut found: Vec<f64> = from.iter().zip(&squared).filter(|(marked, _)| **marked).map(|(_, d)| d.sqrt()).collect();
    found.sort_by(f64::total_cmp);
    found
}

/// Squared distance in mm² from every voxel centre to the nearest marked one; infinite when none is marked.
pub(super) fn squared_distance_transform(marked: &[bool], extents: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let mut field: Vec<f64> = marked.iter().map(|&m| if m { 0.0 } else { f64::INFINITY }).collect();
    let strides = [1, extents[0], extents[0] * extents[1]];
    for axis in 0..3 {
        let (length, stride) = (extents[axis], strides[axis]);
        let mut envelope = LowerEnvelope::new(length, spacing[axis]);
        for start in (0..field.len()).filter(|at| (at / stride) % length == 0) {
            envelope.transform(&mut field, start, stride);
        }
    }
    field
}

/// The 1-D transform g(p) = min over q of f(q) + (s (p - q))², as the lower envelope of one parabola per sample.
struct LowerEnvelope {
    spacing: f64,
    /// The line's samples f, gathered.
    line: Vec<f64>,
    /// Apexes q of the parabolas on the envelope, left to right.
    apexes: Vec<usize>,
    /// Where each of them takes over from the one before it, in samples.
    takeovers: Vec<f64>,
}

impl LowerEnvelope {
    fn new(length: usize, spacing: f64) -> Self {
        Self {
            spacing,
            line: vec![0.0; length],
            apexes: Vec::with_capacity(length),
            takeovers: Vec::with_capacity(length),
        }
    }

    /// Transforms the line of `field` that begins at `start` in place.
    fn transform(&mut self, field: &mut [f64], start: usize, stride: usize) {
        for (q, sample) in self.line.iter_mut().enumerate() {
            *sample = field[start + q * stride];
        }
        self.build();
        let mut k = 0;
        for p in 0..self.line.len() {
            while k + 1 < self.apexes.len() && self.takeovers[k + 1] < p as f64 {
                k += 1;
            }
            let Some(&q) = self.apexes.get(k) else { return };
            let offset = self.spacing * (p as f64 - q as f64);
            field[start + p * stride] = self.line[q] + offset * offset;
        }
    }

    /// Finds the envelope of the finite samples.
    fn build(&mut self) {
        self.apexes.clear();
        self.takeovers.clear();
        for q in 0..self.line.len() {
            if self.line[q].is_infinite() {
                continue;
            }
            let mut takeover = f64::NEG_INFINITY;
            while let (Some(&apex), Some(&since)) = (self.apexes.last(), self.takeovers.last()) {
                takeover = self.crossing(apex, q);
                if takeover > since {
                    break;
                }
                self.apexes.pop();
                self.takeovers.pop();
                takeover = f64::NEG_INFINITY;
            }
            self.apexes.push(q);
            self.takeovers.push(takeover);
        }
    }

    /// Where, in samples, the parabola of `right` gets below that of `left`; `left < right`.
    fn crossing(&self, left: usize, right: usize) -> f64 {
        let scaled = (self.line[right] - self.line[left]) / (self.spacing * self.spacing);
        let (left, right) = (left as f64, right as f64);
        0.5 * (scaled / (right - left) + right + left)
    }
}
