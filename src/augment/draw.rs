use super::intensity::BIAS_TERMS;
use super::resample::{CONTROL_POINTS, RESAMPLE_PARAMETERS};
use super::{Augmentation, Blur, Extents, Flip, Gamma, HistogramMatch, LowResolution, Ranged, Rotation};
use crate::data::Sample;
use crate::random::{Purpose, Stream};

/// What happens to one sample, as the numbers that the operations read: a pure function of settings, seed and sample
/// number. A transformation draws the same count of random numbers whether it takes place or not, so that no setting changes
/// what the others draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// For [`HistogramMatch`].
    pub matching: Vec<f32>,
    /// For [`super::Resample`].
    pub resample: Vec<f32>,
    /// For [`LowResolution`].
    pub low_resolution: Vec<f32>,
    /// For [`Blur`].
    pub blur: Vec<f32>,
    /// For [`super::Intensity`].
    pub intensity: Vec<f32>,
    /// Names of the transformations that take place.
    pub applied: Vec<String>,
}

impl Draw {
    /// The draw of a sample.
    ///
    /// # Panics
    /// When the settings need intensities that the sample was not given.
    pub fn new(settings: &Augmentation, seed: u64, sample: &Sample, extents: &Extents) -> Self {
        let mut drawing =
            Drawing { stream: Stream::new(seed, Purpose::Augmentation, sample.number), applied: Vec::new() };
        let matched = drawing.happens(settings.histogram_matching.probability, || "histogram".to_owned());
        let resample = drawing.resample(settings, sample, extents);
        let low_resolution = drawing.low_resolution(settings.low_resolution, extents);
        let blur = drawing.blur(settings.blur);
        let intensity = drawing.intensity(settings, sample, matched);
        let matching = if settings.matches_histograms() { matching(sample, matched) } else { Vec::new() };
        let single = |numbers: Vec<f64>| numbers.into_iter().map(|n| n as f32).collect();
        Self {
            matching,
            resample: single(resample),
            low_resolution: single(low_resolution),
            blur: single(blur),
            intensity: single(intensity),
            applied: drawing.applied,
        }
    }
}

const DESCRIBED: &str = "the loader describes intensities where they are needed";

fn matching(sample: &Sample, matched: bool) -> Vec<f32> {
    let own = &sample.intensities.as_ref().expect(DESCRIBED)[0].quantiles;
    let partner = &sample.partner.as_ref().expect(DESCRIBED)[0].quantiles;
    let numbers: Vec<f32> = std::iter::once(f32::from(u8::from(matched))).chain(own.iter().copied()).collect();
    let numbers = [&numbers[..], partner].concat();
    debug_assert_eq!(numbers.len(), HistogramMatch::PARAMETERS);
    numbers
}

struct Drawing {
    stream: Stream,
    applied: Vec<String>,
}

impl Drawing {
    /// Whether a transformation takes place. If so, its name is kept.
    fn happens(&mut self, probability: f64, name: impl FnOnce() -> String) -> bool {
        let happens = self.stream.uniform() < probability;
        if happens {
            self.applied.push(name());
        }
        happens
    }

    /// A number of the range, or `neutral`.
    fn ranged(&mut self, name: &str, ranged: Ranged, neutral: f64) -> f64 {
        let value = self.stream.between(ranged.range[0], ranged.range[1]);
        if self.happens(ranged.probability, || format!("{name} {value:.2}")) { value } else { neutral }
    }

    fn resample(&mut self, settings: &Augmentation, sample: &Sample, extents: &Extents) -> Vec<f64> {
        let rotation = self.rotation(settings.rotation);
        let scale = self.scale(settings.scaling);
        let mirror = self.mirror(settings.flip);
        let spacing = sample.spacing;
        // Of the source by the output, both about their centres, in voxels: axes x, y, z.
        let matrix: [[f64; 3]; 3] = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                // The inverse of a rotation is its transpose.
                rotation[column][row] * spacing[column] / spacing[row] * mirror[column] / scale
            })
        });
        let centre = |extents: [usize; 3], axis: usize| (extents[axis] - 1) as f64 / 2.0;
        let mut numbers = Vec::with_capacity(RESAMPLE_PARAMETERS);
        for row in 0..3 {
            numbers.extend((0..3).map(|column| matrix[2 - row][2 - column]));
        }
        for row in 0..3 {
            let turned: f64 = (0..3).map(|column| numbers[3 * row + column] * centre(extents.patch, column)).sum();
            numbers.push(centre(extents.source, row) - turned);
        }
        numbers.extend(self.displacements(settings));
        numbers
    }

    /// The rotation about x, then y, then z (axes x, y, z).
    fn rotation(&mut self, rotation: Rotation) -> [[f64; 3]; 3] {
        let angles = rotation.degrees.map(|d| self.stream.between(-d, d));
        let name = || format!("rotation {}", angles.map(|a| format!("{a:.0}°")).join(" "));
        let happens = self.happens(rotation.probability, name);
        let angles = angles.map(|a| if happens { a.to_radians() } else { 0.0 });
        let mut matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for (axis, angle) in angles.into_iter().enumerate() {
            let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
            let (sin, cos) = angle.sin_cos();
            let (row_a, row_b) = (matrix[a], matrix[b]);
            matrix[a] = std::array::from_fn(|c| cos * row_a[c] - sin * row_b[c]);
            matrix[b] = std::array::from_fn(|c| sin * row_a[c] + cos * row_b[c]);
        }
        matrix
    }

    fn scale(&mut self, scaling: Ranged) -> f64 {
        let value = self.stream.between(scaling.range[0].ln(), scaling.range[1].ln()).exp();
        if self.happens(scaling.probability, || format!("scale {value:.2}")) { value } else { 1.0 }
    }

    /// -1 for the axes x, y, z that are mirrored.
    fn mirror(&mut self, flip: Flip) -> [f64; 3] {
        let mut signs = [1.0; 3];
        for (axis, name) in ["flip x", "flip y", "flip z"].into_iter().enumerate() {
            if self.happens(flip.probability[axis], || name.to_owned()) {
                signs[axis] = -1.0;
            }
        }
        signs
    }

    /// Displacements of the control points along z, y, x.
    fn displacements(&mut self, settings: &Augmentation) -> Vec<f64> {
        let deformation = settings.deformation;
        let count = CONTROL_POINTS.pow(3);
        let happens = self.happens(deformation.probability, || "deformation".to_owned());
        let normals: Vec<f64> = (0..3 * count).map(|_| self.stream.normal()).collect();
        let wanted = |i: usize| happens && (i >= count || deformation.z);
        normals.into_iter().enumerate().map(|(i, n)| if wanted(i) { n * deformation.sigma } else { 0.0 }).collect()
    }

    fn low_resolution(&mut self, ranged: Ranged, extents: &Extents) -> Vec<f64> {
        let factors: [f64; 3] = std::array::from_fn(|_| self.stream.between(ranged.range[0], ranged.range[1]));
        let happens = self.happens(ranged.probability, || "low resolution".to_owned());
        let table = |axis: usize| LowResolution::table(extents.patch[axis], if happens { factors[axis] } else { 1.0 });
        (0..3).flat_map(table).collect()
    }

    fn blur(&mut self, ranged: Ranged) -> Vec<f64> {
        Blur::weights(self.ranged("blur", ranged, 0.0)).to_vec()
    }

    fn intensity(&mut self, settings: &Augmentation, sample: &Sample, matched: bool) -> Vec<f64> {
        let coefficients: Vec<f64> = (0..BIAS_TERMS)
            .map(|_| self.stream.between(settings.bias_field.range[0], settings.bias_field.range[1]))
            .collect();
        let biased = self.happens(settings.bias_field.probability, || "bias field".to_owned());
        let brightness = self.ranged("brightness", settings.brightness, 1.0);
        let contrast = self.ranged("contrast", settings.contrast, 1.0);
        let (gamma, inverted) = self.gamma(settings.gamma);
        let deviation = self.ranged("noise", settings.noise, 0.0);
        let key: [f64; 4] = std::array::from_fn(|_| self.stream.below(1 << 16) as f64);
        let intensities = if matched { &sample.partner } else { &sample.intensities };
        let (low, high, mean) = intensities.as_ref().map_or((0.0, 0.0, 0.0), |i| (i[0].low(), i[0].high(), i[0].mean));
        let mut numbers = [low, high, mean].map(f64::from).to_vec();
        numbers.extend([brightness, contrast, gamma, f64::from(u8::from(inverted)), deviation]);
        numbers.extend(key);
        numbers.push(f64::from(u8::from(biased)));
        numbers.extend(coefficients);
        numbers
    }

    /// The exponent, and whether it applies to inverted intensities.
    fn gamma(&mut self, gamma: Gamma) -> (f64, bool) {
        let inverted = self.stream.uniform() < gamma.inverted;
        let name = if inverted { "inverted gamma" } else { "gamma" };
        (self.ranged(name, Ranged { probability: gamma.probability, range: gamma.range }, 1.0), inverted)
    }
}
