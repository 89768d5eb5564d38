//! Augmentation on the device, in front of the training graph and in the same submission.
//!
//! | step, in this order | module |
//! |---|---|
//! | intensities of another training volume | [`HistogramMatch`] |
//! | one resampling for flip, rotation, scaling and B-spline deformation | [`Resample`] |
//! | simulated low resolution | [`LowResolution`] |
//! | Gaussian blur | [`Blur`] |
//! | bias field, brightness, contrast, gamma, noise | [`Intensity`] |
//!
//! The host draws a few numbers for each sample ([`Draw`]), a pure function of (seed, sample number). The operations are
//! ordinary nodes of the graph that read these numbers as a tensor. Only the steps that the settings ask for become nodes.
//!
//! An image has 1 to 64 channels, `[N, D, H, W, C]`. They move together, with the labels, and their histograms are matched to
//! those of the same volume or not at all. Whether a channel is blurred, say, and how much, is drawn for each channel.

mod blur;
pub mod cases;
mod draw;
mod histogram_matching;
mod image;
mod intensity;
mod low_resolution;
mod pipeline;
mod resample;
mod settings;

pub use blur::Blur;
pub use cases::cases;
pub use draw::Draw;
pub use histogram_matching::HistogramMatch;
pub use intensity::{INTENSITY_PARAMETERS, Intensity, standard_normal};
pub use low_resolution::LowResolution;
pub use pipeline::{Augmenter, Extents};
pub use resample::Resample;
pub use settings::{Augmentation, Deformation, Flip, Gamma, Probability, Ranged, Rotation};
