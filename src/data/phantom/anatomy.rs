//! The pelvis of the phantom: places in mm from the centre of the field of view, x to the right, y
//! to the front, z to the head. Sizes follow anatomy roughly.

use super::ellipsoid::Ellipsoid;
use super::level;
use super::prostate::Prostate;
use super::texture::Texture;
use crate::random::Stream;

/// What is at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Signal without coil and noise.
    pub(super) signal: f64,
    /// True inside the prostate.
    pub(super) prostate: bool,
}

/// A tube from below to above: the rectum.
#[derive(Clone, Debug)]
struct Rectum {
    centre: [f64; 2],
    radius: f64,
    /// Amplitude in mm, length in mm and phase of its bends.
    bend: [f64; 3],
    gas: f64,
}

impl Rectum {
    fn axis_at(&self, z: f64) -> [f64; 2] {
        let [size, length, phase] = self.bend;
        let angle = z / length + phase;
        // Above the prostate it follows the sacrum backwards.
        [self.centre[0] + size * angle.sin(), self.centre[1] + 0.5 * size * angle.cos() - 0.004 * z.max(0.0).powi(2)]
    }

    /// Signal of wall and content, if the place is inside.
    fn signal(&self, place: [f64; 3], coarse: f64, fine: f64) -> Option<f64> {
        let [x, y] = self.axis_at(place[2]);
        let (dx, dy) = ((place[0] - x) / 1.25, place[1] - y);
        let radius = self.radius * (1.0 + 0.12 * (place[2] / 9.0 + self.bend[2]).sin());
        let distance = dx.hypot(dy) + 0.6 * coarse - radius;
        if distance > 0.0 {
            return None;
        }
        if distance > -3.2 {
            return Some(level::WALL + 0.05 * fine);
        }
        // Gas rises to the front of a patient who lies on the back.
        let gas = dy / radius > 0.5 - self.gas + 0.15 * coarse;
        Some(if gas { level::AIR } else { level::STOOL + 0.10 * fine + 0.05 * coarse })
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    prostate: Prostate,
    bladder: Ellipsoid,
    rectum: Rectum,
    vesicles: [Ellipsoid; 2],
    muscles: Vec<Ellipsoid>,
    bones: Vec<Ellipsoid>,
    levator: Ellipsoid,
    skin: Ellipsoid,
    fine: Texture,
    coarse: Texture,
    strands: Texture,
    /// A factor for the signal of each tissue, because sequences differ.
    contrast: [f64; 5],
}

impl Anatomy {
    pub(super) fn draw(stream: &mut Stream) -> Anatomy {
        let prostate = Prostate::draw(stream);
        let [px, py, pz] = prostate.body.centre;
        let [a, b, c] = prostate.body.semi_axes;
        let wide = stream.between(26.0, 38.0);
        let tall = stream.between(14.0, 24.0);
        let bladder = Ellipsoid::new(
            [px + stream.between(-4.0, 4.0), py + stream.between(4.0, 12.0), pz + c + 0.80 * tall],
            [wide, stream.between(20.0, 28.0), tall],
            [stream.between(-0.2, 0.2), stream.between(-0.1, 0.1), 0.0],
        );
        let radius = stream.between(10.0, 16.0);
        let rectum = Rectum {
            centre: [px + stream.between(-4.0, 4.0), py - b - radius - stream.between(0.0, 2.5)],
            radius,
            bend: [stream.between(0.0, 3.5), stream.between(9.0, 16.0), stream.between(0.0, 6.0)],
            gas: stream.between(0.0, 0.9),
        };
        let vesicles = [-1.0, 1.0].map(|side| {
            Ellipsoid::new(
                [px + side * stream.between(11.0, 15.0), py - 0.75 * b, pz + c + stream.between(-1.0, 4.0)],
                [stream.between(11.0, 15.0), stream.between(4.0, 6.0), stream.between(5.0, 8.0)],
                [0.0, side * -0.3, side * stream.between(0.1, 0.5)],
            )
        });
        Anatomy {
            bladder,
            rectum,
            vesicles,
            muscles: draw_muscles(stream),
            bones: draw_bones(stream),
            levator: Ellipsoid::new([px, py - 12.0, pz - 14.0], [a + 9.0, b + 20.0, 30.0], [0.1, 0.0, 0.0]),
            skin: Ellipsoid::new([0.0, -8.0, 0.0], [92.0, stream.between(62.0, 72.0), 400.0], [0.0; 3]),
            fine: Texture::draw(stream, [3.0, 3.0, 4.0]),
            coarse: Texture::draw(stream, [9.0, 9.0, 12.0]),
            strands: Texture::draw(stream, [7.0, 5.0, 14.0]),
            contrast: std::array::from_fn(|_| 1.0 + 0.08 * stream.normal().clamp(-2.0, 2.0)),
            prostate,
        }
    }

    /// Centre of the rectum behind the prostate, mm.
    pub(super) fn rectum_centre(&self) -> [f64; 3] {
        let z = self.prostate.body.centre[2];
        let [x, y] = self.rectum.axis_at(z);
        [x, y, z]
    }

    /// What is at a place: the front-most of the structures, in this order.
    pub(super) fn at(&self, place: [f64; 3]) -> Found {
        let (fine, coarse) = (self.fine.at(place), self.coarse.at(place));
        let radius = self.prostate.radius(place);
        if radius < 1.0 {
            let signal = self.prostate.signal(place, radius, fine, coarse) * self.contrast[0];
            return Found { signal: signal.max(0.0), prostate: true };
        }
        Found { signal: self.surroundings(place, radius, fine, coarse).max(0.0), prostate: false }
    }

    /// The levator ani: a thin sling behind and beside prostate and rectum, open to the front, of
    /// uneven thickness.
    fn is_levator(&self, place: [f64; 3], coarse: f64) -> bool {
        let [_, py, pz] = self.prostate.body.centre;
        let radius = self.levator.radius(place) + 0.03 * coarse;
        let thickness = 0.035 + 0.025 * self.strands.at(place);
        (radius - 0.97).abs() < thickness && place[2] < pz + 12.0 && place[1] < py + 9.0 + 4.0 * coarse
    }

    fn surroundings(&self, place: [f64; 3], radius: f64, fine: f64, coarse: f64) -> f64 {
        let [fat, muscle, marrow, fluid] = [self.contrast[1], self.contrast[2], self.contrast[3], self.contrast[4]];
        if self.skin.radius(place) > 1.0 {
            return level::AIR;
        }
        if let Some(signal) = self.rectum.signal(place, coarse, fine) {
            return signal;
        }
        let bladder = self.bladder.distance(place);
        if bladder < 0.0 {
            return if bladder > -2.5 { level::WALL + 0.04 * fine } else { level::URINE * fluid + 0.02 * fine };
        }
        for vesicle in &self.vesicles {
            if vesicle.radius(place) < 1.0 + 0.12 * coarse {
                // Coiled tubes: bright fluid between dark walls.
                return if fine.abs() < 0.25 { level::WALL + 0.15 } else { level::VESICLE * fluid + 0.06 * coarse };
            }
        }
        if self.is_levator(place, coarse) {
            return level::MUSCLE * muscle + 0.08 + 0.05 * fine;
        }
        for bone in &self.bones {
            let distance = bone.distance(place) + 1.2 * coarse;
            if distance < 0.0 {
                return if distance > -2.0 {
                    level::CORTEX
                } else {
                    level::MARROW * marrow + 0.05 * coarse + 0.05 * fine
                };
            }
        }
        for part in &self.muscles {
            if part.distance(place) + 1.5 * coarse < 0.0 {
                return level::MUSCLE * muscle + 0.03 * fine + 0.03 * coarse;
            }
        }
        // The venous plexus around the prostate, most of it in front and at the sides.
        if radius < 1.35 && self.strands.at(place) + fine > 1.0 {
            return level::VEIN * fluid;
        }
        let strand = self.strands.at(place).abs();
        let connective = if strand < 0.09 { 0.35 } else { 0.0 };
        level::FAT * fat - connective + 0.04 * fine + 0.06 * coarse
    }
}

/// Obturator internus, gluteus and the muscles in front, on both sides.
fn draw_muscles(stream: &mut Stream) -> Vec<Ellipsoid> {
    let mut muscles = Vec::new();
    for side in [-1.0, 1.0] {
        let tilt = side * stream.between(0.15, 0.35);
        let (thick, long) = (stream.between(7.0, 10.0), stream.between(24.0, 30.0));
        let at = [side * stream.between(41.0, 46.0), stream.between(-4.0, 4.0), 0.0];
        muscles.push(Ellipsoid::new(at, [thick, long, 55.0], [0.0, side * 0.15, tilt]));
        let at = [side * stream.between(34.0, 42.0), stream.between(-66.0, -60.0), 0.0];
        muscles.push(Ellipsoid::new(at, [26.0, 13.0, 70.0], [0.0, 0.0, side * 0.5]));
        let at = [side * stream.between(11.0, 14.0), stream.between(50.0, 54.0), 18.0];
        muscles.push(Ellipsoid::new(at, [10.0, 5.0, 40.0], [0.1, 0.0, 0.0]));
        let at = [side * stream.between(40.0, 48.0), stream.between(36.0, 42.0), -20.0];
        muscles.push(Ellipsoid::new(at, [15.0, 9.0, 26.0], [0.0, 0.0, side * -0.4]));
    }
    muscles
}

/// Hip bones, pubic bones and the tip of the sacrum.
fn draw_bones(stream: &mut Stream) -> Vec<Ellipsoid> {
    let mut bones = Vec::new();
    for side in [-1.0, 1.0] {
        let at = [side * stream.between(59.0, 64.0), stream.between(2.0, 8.0), 4.0];
        bones.push(Ellipsoid::new(at, [11.0, stream.between(20.0, 26.0), 40.0], [0.0, side * 0.1, side * 0.3]));
        let at = [side * stream.between(18.0, 21.0), stream.between(37.0, 41.0), -14.0];
        let angles = [0.3, 0.0, side * stream.between(-0.5, -0.3)];
        bones.push(Ellipsoid::new(at, [17.5, 7.5, stream.between(14.0, 18.0)], angles));
    }
    bones.push(Ellipsoid::new([0.0, -62.0, 22.0], [13.0, 7.0, 26.0], [0.35, 0.0, 0.0]));
    bones
}
