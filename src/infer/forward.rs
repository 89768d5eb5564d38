//! The network on a tensor, for comparisons with other programs: no preparation, no windows, no softmax.

use super::InferError;
use super::predictor::run;
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::kernel::Arena;
use crate::nn::model::Tensor;
use crate::nn::{InferenceGraph, Model};
use crate::plan::{Request, plan};
use crate::tensor::layout::permute;
use crate::tensor::{ShapeError, TensorSpec};
use std::sync::Arc;

/// Logits `[N, classes, D, H, W]` of an image `[N, in_channels, D, H, W]`.
///
/// # Errors
/// [`InferError`] when the image does not have five axes and the network's channels, or does not fit the device.
pub fn forward(gpu: &Arc<Gpu>, model: &Model, image: &Tensor) -> Result<Tensor, InferError> {
    let [n, channels, d, h, w] = axes(model, image)?;
    let inference = InferenceGraph::new(&model.network, n, [d, h, w])?;
    let plan = plan(&Request::inference(&inference.graph, &[inference.logits]), gpu.target())?;
    let executor = Executor::new(Arc::clone(gpu), plan)?;
    executor.write_arena(Arena::Parameters, &model.to_arena(&inference.graph, &executor.plan().arena));
    let innermost = permute(&image.data, &[n, channels, d, h, w], &[0, 2, 3, 4, 1]);
    let logits = run(&executor, (inference.image, &innermost), inference.logits)?;
    let classes = model.network.classes;
    let data = permute(&logits, &[n, d, h, w, classes], &[0, 4, 1, 2, 3]);
    Ok(Tensor { shape: vec![n, classes, d, h, w], data })
}

fn axes(model: &Model, image: &Tensor) -> Result<[usize; 5], ShapeError> {
    let channels = model.network.in_channels;
    match image.shape[..] {
        [n, c, d, h, w] if c == channels && !image.data.is_empty() => Ok([n, c, d, h, w]),
        _ => {
            let expected = format!("an image [N, {channels}, D, H, W] that is not empty");
            Err(ShapeError::new("forward", expected, &[&TensorSpec::f32(image.shape.clone())]))
        }
    }
}
