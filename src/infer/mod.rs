//! Prediction: sliding windows over a prepared volume, and the way back to the grid of the file.

mod components;
mod ensemble;
mod forward;
mod postprocess;
mod predictor;
mod preprocessing;
mod segment;
mod segmenter;
mod sliding;
mod uncertainty;
mod window;

pub use ensemble::{ENSEMBLE_FILE, Ensemble, EnsembleError, other_network, write_ensemble};
pub use forward::forward;
pub use postprocess::{PostProcessing, Repair, Size};
pub use predictor::{InferError, MemberWindow, Predictor};
pub use preprocessing::Preprocessing;
pub use segment::{SegmentOptions, probability_path, repair_file, segment_file, segment_volume};
pub use segmenter::{Segmented, Segmenter};
pub use window::{gaussian_weights, window_starts};
