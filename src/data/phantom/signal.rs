//! What the scanner makes of the tissue: an uneven coil, blur, noise and an arbitrary scale.

use super::anatomy::Anatomy;
use crate::random::Stream;

/// A coil, a noise level and an intensity scale.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    /// Logarithm of the sensitivity: coefficients of x, y, z, x², y², xy, with places in units of
    /// 60 mm.
    slope: [f64; 6],
    /// Place of the endorectal coil, mm.
    coil: [f64; 3],
    /// Additional sensitivity at the coil; 0 without one.
    coil_gain: f64,
    /// Distance in mm at which the additional sensitivity has fallen to 1/e.
    coil_reach: f64,
    /// Standard deviation of each of the two noise channels; the signal of fat is about 0.8.
    noise: f64,
    /// Intensity of a signal of 1 in the file.
    scale: f64,
    stream: Stream,
}

impl Scanner {
    pub(super) fn draw(stream: &mut Stream, anatomy: &Anatomy) -> Scanner {
        let slope = [0.12, 0.18, 0.10, 0.10, 0.12, 0.06].map(|size| size * stream.normal());
        // A third of the scans has a coil in the rectum, as in PROMISE12.
        let has_coil = stream.uniform() < 1.0 / 3.0;
        let gain = stream.between(0.4, 1.1);
        let scale = 150.0 * 10f64.powf(stream.uniform());
        Scanner {
            slope,
            coil: anatomy.rectum_centre(),
            coil_gain: if has_coil { gain } else { 0.0 },
            coil_reach: stream.between(18.0, 30.0),
            noise: stream.between(0.02, 0.05),
            scale,
            stream: stream.clone(),
        }
    }

    /// Sensitivity of the coils at a place in mm; about 1.
    pub(super) fn sensitivity(&self, place: [f64; 3]) -> f64 {
        let [x, y, z] = place.map(|mm| mm / 60.0);
        let [cx, cy, cz, cxx, cyy, cxy] = self.slope;
        let smooth = (cx * x + cy * y + cz * z + cxx * x * x + cyy * y * y + cxy * x * y).exp();
        let distance = (0..3).map(|axis| (place[axis] - self.coil[axis]).powi(2)).sum::<f64>().sqrt();
        smooth * (1.0 + self.coil_gain * (-distance / self.coil_reach).exp())
    }

    /// The magnitude of the signal with noise in its real and imaginary channel (Rician), scaled
    /// and rounded.
    pub(super) fn acquire(&self, signal: &[f64]) -> Vec<f32> {
        let mut stream = self.stream.clone();
        let largest = f64::from(i16::MAX);
        signal
            .iter()
            .map(|value| {
                let [real, imaginary] = stream.normal_pair().map(|normal| normal * self.noise);
                ((value + real).hypot(imaginary) * self.scale).round().min(largest) as f32
            })
            .collect()
    }
}

/// Blurs every slice with weights 1/8, 3/4, 1/8 along x and y: the point spread of a truncated
/// k-space.
pub(super) fn blur_in_plane(signal: &mut [f64], nx: usize, ny: usize) {
    for slice in signal.chunks_exact_mut(nx * ny) {
        blur_lines(slice, nx, 1, ny, nx);
        blur_lines(slice, ny, nx, nx, 1);
    }
}

/// Blurs `lines` lines of `count` values that lie `step` apart; lines begin `line_step` apart, and
/// ends are repeated.
fn blur_lines(slice: &mut [f64], count: usize, step: usize, lines: usize, line_step: usize) {
    for line in 0..lines {
        let start = line * line_step;
        let mut before = slice[start];
        for index in 0..count {
            let at = start + index * step;
            let here = slice[at];
            let after = if index + 1 < count { slice[at + step] } else { here };
            slice[at] = 0.75 * here + 0.125 * (before + after);
            before = here;
        }
    }
}
