//! Smooth random fields: what tissue looks like between its boundaries.

use crate::random::Stream;

/// Lattice points along each axis; beyond them the field repeats.
const POINTS: usize = 32;

/// A field of about zero mean: normal numbers on a cubic lattice, interpolated smoothly between the
/// points.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    lattice: Vec<f32>,
    /// Lattice points per mm along x, y, z.
    frequency: [f64; 3],
}

impl Texture {
    /// A field whose blobs measure about `size` mm along x, y, z.
    pub(super) fn draw(stream: &mut Stream, size: [f64; 3]) -> Texture {
        let lattice = (0..POINTS * POINTS * POINTS / 2).flat_map(|_| stream.normal_pair()).map(|v| v as f32).collect();
        Texture { lattice, frequency: size.map(|mm| 1.0 / mm) }
    }

    /// Value at a place in mm.
    pub(super) fn at(&self, place: [f64; 3]) -> f64 {
        let mut low = [0usize; 3];
        let mut weight = [0.0f64; 3];
        for axis in 0..3 {
            let position = place[axis] * self.frequency[axis];
            let floor = position.floor();
            low[axis] = (floor as i64).rem_euclid(POINTS as i64) as usize;
            let t = position - floor;
            weight[axis] = t * t * (3.0 - 2.0 * t);
        }
        let high = low.map(|index| (index + 1) % POINTS);
        let value = |x: usize, y: usize, z: usize| f64::from(self.lattice[(z * POINTS + y) * POINTS + x]);
        let mix = |a: f64, b: f64, t: f64| a + (b - a) * t;
        let row = |y: usize, z: usize| mix(value(low[0], y, z), value(high[0], y, z), weight[0]);
        let plane = |z: usize| mix(row(low[1], z), row(high[1], z), weight[1]);
        mix(plane(low[2]), plane(high[2]), weight[2])
    }
}
