//! From the outputs of a network to one class for each voxel.

use super::resample::keep_larger;

/// What a voxel must exceed to belong to a region.
const THRESHOLD: f32 = 0.5;

/// How probabilities become classes.
///
/// ```
/// use vnet_engine::data::Decision;
///
/// // Three nested regions, for which the classes 1, 2 and 3 are painted.
/// let painted = Decision::Painted(vec![1, 2, 3]);
/// assert_eq!(painted.labels(&[0.9, 0.6, 0.5, 0.2, 0.8, 0.1, 0.5, 0.5, 0.5]), [2, 2, 0]);
/// assert_eq!(Decision::Largest(3).labels(&[0.2, 0.5, 0.3, 0.4, 0.2, 0.4]), [1, 0]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Of this many classes the most probable one; the lower one where two are equal.
    Largest(usize),
    /// Regions, one output each, whose classes are painted in this order over background (class 0) where the probability is
    /// above 1/2: later ones over earlier ones, as nnU-Net's `regions_class_order`.
    Painted(Vec<u16>),
}

impl From<usize> for Decision {
    fn from(classes: usize) -> Decision {
        Decision::Largest(classes)
    }
}

impl Decision {
    /// Outputs of the network.
    pub fn outputs(&self) -> usize {
        match self {
            Decision::Largest(classes) => *classes,
            Decision::Painted(classes) => classes.len(),
        }
    }

    /// Number of the first output whose probabilities are of interest: that of background is left out.
    pub fn first_kept(&self) -> usize {
        match self {
            Decision::Largest(_) => 1,
            Decision::Painted(_) => 0,
        }
    }

    /// The classes of voxels, each with its outputs together.
    pub fn labels(&self, probabilities: &[f32]) -> Vec<u16> {
        probabilities.chunks_exact(self.outputs()).map(|voxel| self.of(voxel)).collect()
    }

    fn of(&self, voxel: &[f32]) -> u16 {
        let (mut best, mut class) = ([f32::NEG_INFINITY], [0]);
        for (output, value) in voxel.iter().enumerate() {
            self.take(output, std::slice::from_ref(value), &mut best, &mut class);
        }
        class[0]
    }

    /// What an output with this probability adds to the entropy of its voxel, in nats: -p ln p of classes that exclude one another; of
    /// a region, which is a decision of its own, -p ln p - (1 - p) ln (1 - p).
    pub fn entropy(&self, probability: f64) -> f64 {
        let p = probability.clamp(0.0, 1.0);
        let part = |p: f64| if p > 0.0 { -p * libm::log(p) } else { 0.0 };
        match self {
            Decision::Largest(_) => part(p),
            Decision::Painted(_) => part(p) + part(1.0 - p),
        }
    }

    /// Takes an output, in ascending order, into the classes that were found so far: at first 0, with a best probability of
    /// negative infinity.
    pub(super) fn take(&self, output: usize, image: &[f32], best: &mut [f32], classes: &mut [u16]) {
        match self {
            Decision::Largest(_) => keep_larger(image, output as u16, best, classes),
            Decision::Painted(painted) => {
                let found = image.iter().zip(classes).filter(|(value, _)| **value > THRESHOLD);
                found.for_each(|(_, class)| *class = painted[output]);
            }
        }
    }
}
