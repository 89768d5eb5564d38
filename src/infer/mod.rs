//! Prediction: sliding windows over a prepared volume, and the way back to the grid of the file.

mod forward;
mod postprocess;
mod predictor;
mod preprocessing;
mod segment;
mod segmenter;
mod sliding;
mod uncertainty;
mod window;

pub use forward::forward;
pub use postprocess::PostProcessing;
pub use predictor::{InferError, MemberWindow, Predictor};
pub use preprocessing::Preprocessing;
pub use segment::{SegmentOptions, probability_path, segment_file, segment_volume};
pub use segmenter::{Segmented, Segmenter};
pub use window::{gaussian_weights, window_starts};
