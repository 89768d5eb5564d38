//! The organ to segment: its outline, and its zones inside.

use super::ellipsoid::Ellipsoid;
use super::level;
use crate::random::Stream;

/// The prostate: a tapered superellipsoid whose outline is modulated by harmonics of low order.
#[derive(Clone, Debug)]
pub(super) struct Prostate {
    pub(super) body: Ellipsoid,
    /// 2 is an ellipsoid, more is squarer.
    exponent: f64,
    /// Relative widening per semi-axis towards the base (up); the apex is narrow.
    taper: f64,
    /// Depth of the groove along the back, relative to the semi-axis y.
    groove: f64,
    harmonics: [f64; 9],
    /// The dark capsule's thickness, mm.
    capsule: f64,
    central: Ellipsoid,
    nodules: Vec<(Ellipsoid, f64)>,
    lesion: Option<Ellipsoid>,
}

impl Prostate {
    pub(super) fn draw(stream: &mut Stream) -> Prostate {
        let centre = [stream.between(-8.0, 8.0), stream.between(-6.0, 8.0), stream.between(-8.0, 6.0)];
        let size = stream.between(0.85, 1.2);
        let semi_axes = [22.0, 15.5, 18.0].map(|mm| mm * size * stream.between(0.9, 1.1));
        let angles = [stream.between(-0.25, 0.25), stream.between(-0.1, 0.1), stream.between(-0.12, 0.12)];
        let body = Ellipsoid::new(centre, semi_axes, angles);
        let [a, b, c] = semi_axes;
        // The central gland grows with the prostate: hyperplasia is what enlarges it.
        let share = 0.45 + 0.75 * (size - 0.85) + stream.between(0.0, 0.12);
        let central_centre = [centre[0], centre[1] + 0.22 * b, centre[2] + 0.12 * c];
        let central = Ellipsoid::new(central_centre, [a * share, b * (share + 0.06), c * (share + 0.12)], angles);
        let nodules = (0..3 + stream.below(6))
            .map(|_| {
                let at = std::array::from_fn(|axis| {
                    central.centre[axis] + central.semi_axes[axis] * stream.between(-0.62, 0.62)
                });
                let radius = stream.between(2.5, 6.0);
                (Ellipsoid::new(at, [radius; 3], [0.0; 3]), stream.between(0.25, 0.75))
            })
            .collect();
        let side = if stream.uniform() < 0.5 { -1.0 } else { 1.0 };
        let lesion_at = [centre[0] + side * stream.between(0.35, 0.6) * a, centre[1] - 0.55 * b, centre[2]];
        let lesion_size = [stream.between(3.0, 6.0), stream.between(2.0, 4.0), stream.between(3.0, 6.0)];
        let lesion = (stream.uniform() < 0.4).then(|| Ellipsoid::new(lesion_at, lesion_size, angles));
        Prostate {
            body,
            exponent: stream.between(2.0, 2.7),
            taper: stream.between(0.05, 0.25),
            groove: stream.between(0.0, 0.22),
            harmonics: std::array::from_fn(|_| 0.03 * stream.normal().clamp(-2.0, 2.0)),
            capsule: stream.between(1.0, 1.8),
            central,
            nodules,
            lesion,
        }
    }

    /// 0 at the centre, 1 on the surface.
    pub(super) fn radius(&self, place: [f64; 3]) -> f64 {
        let local = self.body.local(place);
        let [a, b, c] = self.body.semi_axes;
        let z = local[2] / c;
        let widening = 1.0 + self.taper * z.clamp(-1.3, 1.3);
        let x = local[0] / (a * widening);
        // Only the back is grooved: the shift fades to the front.
        let back = (0.5 - local[1] / (2.0 * b)).clamp(0.0, 1.0);
        let y = local[1] / (b * widening) - self.groove * back * (1.0 - 4.0 * x * x).max(0.0);
        let round = (x * x + y * y + z * z).sqrt();
        if !(0.2..2.0).contains(&round) {
            return round;
        }
        let square = [x, y, z].iter().map(|v| v.abs().powf(self.exponent)).sum::<f64>().powf(1.0 / self.exponent);
        let [u, v, w] = [x / round, y / round, z / round];
        let basis = [
            2.0 * u * v,
            2.0 * u * w,
            2.0 * v * w,
            u * u - v * v,
            1.5 * w * w - 0.5,
            u * (5.0 * w * w - 1.0) / 1.5,
            v * (5.0 * w * w - 1.0) / 1.5,
            u * (u * u - 3.0 * v * v),
            v * (3.0 * u * u - v * v),
        ];
        let modulation: f64 = basis.iter().zip(self.harmonics).map(|(basis, size)| basis * size).sum();
        square / (1.0 + modulation)
    }

    /// Signal inside, at a place of the given radius.
    pub(super) fn signal(&self, place: [f64; 3], radius: f64, fine: f64, coarse: f64) -> f64 {
        let local = self.body.local(place);
        let [_, b, _] = self.body.semi_axes;
        let central = self.central.distance(place);
        let depth = (1.0 - radius) * b;
        if depth < self.capsule {
            return level::CAPSULE + 0.04 * fine;
        }
        if local[0].hypot(local[1] - 0.05 * b) < 2.2 {
            return level::URETHRA + 0.05 * fine;
        }
        // Fibromuscular stroma: a dark shield in front, in the middle.
        if local[1] > 0.55 * b && local[0].abs() < 0.55 * local[1] {
            return level::STROMA + 0.05 * fine;
        }
        if central < 0.0 {
            if central > -0.8 {
                return 0.5 * (level::CAPSULE + level::CENTRAL);
            }
            for (nodule, signal) in &self.nodules {
                let distance = nodule.distance(place);
                if distance < 0.0 {
                    return if distance > -0.8 { level::CAPSULE } else { signal + 0.08 * fine };
                }
            }
            return level::CENTRAL + 0.07 * fine + 0.06 * coarse;
        }
        let peripheral = level::PERIPHERAL + 0.07 * fine + 0.08 * coarse;
        match &self.lesion {
            Some(lesion) => {
                let share = (-lesion.distance(place) / 1.5).clamp(0.0, 1.0);
                peripheral + share * (level::LESION - peripheral)
            }
            None => peripheral,
        }
    }
}
