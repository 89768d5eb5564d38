use serde::{Deserialize, Serialize};

/// `[augmentation]`: each transformation with its probability and the range of its parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// False: no sample is changed, whatever the probabilities.
    pub enabled: bool,
    /// Match the histogram of another training volume.
    pub histogram_matching: Probability,
    /// Deformation by B-splines on 2 x 2 x 2 cells.
    pub deformation: Deformation,
    /// Rotation about x, y and z, in degrees.
    pub rotation: Rotation,
    /// Magnification by one factor for all axes. f and 1/f are equally likely if both are in the range.
    pub scaling: Ranged,
    /// Mirrors.
    pub flip: Flip,
    /// Simulated low resolution: the factor by which voxels are larger, one for each axis.
    pub low_resolution: Ranged,
    /// Gaussian blur: standard deviation in voxels, at most 1.
    pub blur: Ranged,
    /// Bias field exp(polynomial of degree 3), a factor on the intensities above the lowest: range of the coefficients.
    pub bias_field: Ranged,
    /// Factor on the normalised intensities.
    pub brightness: Ranged,
    /// Factor on the distance from the mean.
    pub contrast: Ranged,
    /// Exponent on intensities between the volume's extremes.
    pub gamma: Gamma,
    /// Gaussian noise: standard deviation in units of the normalised intensities.
    pub noise: Ranged,
}

/// A transformation without a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probability {
    /// From 0 to 1.
    pub probability: f64,
}

/// A transformation by a number between two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ranged {
    /// From 0 to 1.
    pub probability: f64,
    /// Smallest and largest.
    pub range: [f64; 2],
}

/// `[augmentation.deformation]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deformation {
    /// From 0 to 1.
    pub probability: f64,
    /// Standard deviation of the control points' displacements in voxels.
    pub sigma: f64,
    /// Displace along z, too. The paper's authors do not, since the resolution is too low there.
    pub z: bool,
}

/// `[augmentation.rotation]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// From 0 to 1.
    pub probability: f64,
    /// Largest angles about x, y and z, in both directions.
    pub degrees: [f64; 3],
}

/// `[augmentation.flip]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// Along x, y and z.
    pub probability: [f64; 3],
}

/// `[augmentation.gamma]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gamma {
    /// From 0 to 1.
    pub probability: f64,
    /// Smallest and largest exponent.
    pub range: [f64; 2],
    /// Share of the transformations that apply to the inverted intensities.
    pub inverted: f64,
}

impl Augmentation {
    /// The paper's: histogram matching always, deformation by 15 voxels in every other sample, as in the authors' code.
    pub fn paper() -> Self {
        let off = |range| Ranged { probability: 0.0, range };
        Self {
            enabled: true,
            histogram_matching: Probability { probability: 1.0 },
            deformation: Deformation { probability: 0.5, sigma: 15.0, z: false },
            rotation: Rotation { probability: 0.0, degrees: [30.0; 3] },
            scaling: off([0.7, 1.4]),
            flip: Flip { probability: [0.0; 3] },
            low_resolution: off([1.0, 2.0]),
            blur: off([0.5, 1.0]),
            bias_field: off([-0.3, 0.3]),
            brightness: off([0.75, 1.25]),
            contrast: off([0.75, 1.25]),
            gamma: Gamma { probability: 0.0, range: [0.7, 1.5], inverted: 0.25 },
            noise: off([0.0, 0.3]),
        }
    }

    /// As in nnU-Net (Isensee et al. 2021, supplementary note 4), but mirrored from left to right only: the direction of the
    /// other axes tells organs apart.
    pub fn general() -> Self {
        let paper = Self::paper();
        let with = |ranged: Ranged, probability| Ranged { probability, ..ranged };
        Self {
            histogram_matching: Probability { probability: 0.0 },
            deformation: Deformation { probability: 0.0, sigma: 4.0, z: false },
            rotation: Rotation { probability: 0.2, ..paper.rotation },
            scaling: with(paper.scaling, 0.2),
            flip: Flip { probability: [0.5, 0.0, 0.0] },
            low_resolution: with(paper.low_resolution, 0.125),
            blur: with(paper.blur, 0.1),
            brightness: with(paper.brightness, 0.15),
            contrast: with(paper.contrast, 0.15),
            gamma: Gamma { probability: 0.4, ..paper.gamma },
            noise: with(paper.noise, 0.1),
            ..paper
        }
    }

    /// Whether voxels move.
    pub fn is_spatial(&self) -> bool {
        let probabilities = [self.deformation.probability, self.rotation.probability, self.scaling.probability];
        self.enabled && probabilities.iter().chain(&self.flip.probability).any(|p| *p > 0.0)
    }

    /// Whether intensities of other volumes are needed.
    pub fn matches_histograms(&self) -> bool {
        self.enabled && self.histogram_matching.probability > 0.0
    }

    /// Whether samples need the intensities of their volumes.
    pub fn needs_intensities(&self) -> bool {
        self.is_pointwise() || self.matches_histograms()
    }

    /// Whether intensities change voxel by voxel.
    pub fn is_pointwise(&self) -> bool {
        let ranged = [self.bias_field, self.brightness, self.contrast, self.noise];
        self.enabled && (ranged.iter().any(|r| r.probability > 0.0) || self.gamma.probability > 0.0)
    }

    /// Whether anything may happen to a sample.
    pub fn is_active(&self) -> bool {
        let smoothing = [self.blur, self.low_resolution].iter().any(|r| r.probability > 0.0);
        self.is_spatial() || self.matches_histograms() || self.is_pointwise() || (self.enabled && smoothing)
    }
}
