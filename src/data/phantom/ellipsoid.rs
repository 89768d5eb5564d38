//! Ellipsoids: what most of the phantom is made of.

/// Rotation matrix about x, then y, then z by angles in radians.
pub(super) fn rotation(angles: [f64; 3]) -> [[f64; 3]; 3] {
    let [(sx, cx), (sy, cy), (sz, cz)] = angles.map(f64::sin_cos);
    [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
}

/// An ellipsoid in any pose.
#[derive(Clone, Debug)]
pub(super) struct Ellipsoid {
    pub(super) centre: [f64; 3],
    pub(super) semi_axes: [f64; 3],
    rotation: [[f64; 3]; 3],
}

impl Ellipsoid {
    pub(super) fn new(centre: [f64; 3], semi_axes: [f64; 3], angles: [f64; 3]) -> Ellipsoid {
        Ellipsoid { centre, semi_axes, rotation: rotation(angles) }
    }

    /// Place in the ellipsoid's own axes, mm.
    pub(super) fn local(&self, place: [f64; 3]) -> [f64; 3] {
        let d: [f64; 3] = std::array::from_fn(|axis| place[axis] - self.centre[axis]);
        std::array::from_fn(|column| (0..3).map(|row| self.rotation[row][column] * d[row]).sum())
    }

    /// 0 at the centre, 1 on the surface.
    pub(super) fn radius(&self, place: [f64; 3]) -> f64 {
        let local = self.local(place);
        (0..3).map(|axis| (local[axis] / self.semi_axes[axis]).powi(2)).sum::<f64>().sqrt()
    }

    /// Distance in mm from the surface, negative inside; exact for spheres.
    pub(super) fn distance(&self, place: [f64; 3]) -> f64 {
        let mean = self.semi_axes.iter().sum::<f64>() / 3.0;
        (self.radius(place) - 1.0) * mean
    }
}
