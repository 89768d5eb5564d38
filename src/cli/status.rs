use super::stop::BY_SIGNAL;
use vnet_engine::bench::BenchError;
use vnet_engine::data::DataError;
use vnet_engine::evaluate::EvaluateError;
use vnet_engine::gpu::GpuError;
use vnet_engine::infer::InferError;
use vnet_engine::metrics::MetricError;
use vnet_engine::nn::ModelError;
use vnet_engine::plan::PlanError;
use vnet_engine::train::{ConfigError, TrainError};

/// Wrong input or usage, as opposed to a failure of the machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongInput(pub String);

/// 2 for wrong usage and wrong input, 128 and the signal's number after a signal, 1 for other failures.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    if let Some(TrainError::Interrupted { signal, .. }) = error.downcast_ref() {
        return u8::try_from(BY_SIGNAL + signal).unwrap_or(1);
    }
    let user = error.chain().any(|cause| {
        if let Some(gpu) = cause.downcast_ref::<GpuError>() {
            return is_choice(gpu);
        }
        if let Some(train) = cause.downcast_ref::<TrainError>() {
            return is_wrong_training(train);
        }
        if let Some(infer) = cause.downcast_ref::<InferError>() {
            return is_wrong_prediction(infer);
        }
        if let Some(bench) = cause.downcast_ref::<BenchError>() {
            return match bench {
                BenchError::Shape(_) | BenchError::Plan(_) => true,
                BenchError::Gpu(gpu) => is_choice(gpu),
                BenchError::Infer(infer) => is_wrong_prediction(infer),
                BenchError::Train(train) => is_wrong_training(train),
            };
        }
        cause.is::<WrongInput>()
            || cause.is::<DataError>()
            || cause.is::<ConfigError>()
            || cause.is::<ModelError>()
            || cause.is::<PlanError>()
            || cause.is::<MetricError>()
            || cause.is::<EvaluateError>()
    });
    if user { 2 } else { 1 }
}

fn is_wrong_training(error: &TrainError) -> bool {
    match error {
        TrainError::Gpu(gpu) | TrainError::Infer(InferError::Gpu(gpu)) => is_choice(gpu),
        TrainError::Report(_) | TrainError::Unhealthy { .. } => false,
        TrainError::Io { source, .. } | TrainError::Model(ModelError::Io { source, .. }) => is_wrong_path(source),
        _ => true,
    }
}

/// Whether another path may help, as opposed to a full disk or a broken one.
fn is_wrong_path(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), IsADirectory | NotADirectory | NotFound | PermissionDenied)
}

fn is_wrong_prediction(error: &InferError) -> bool {
    match error {
        InferError::Gpu(gpu) => is_choice(gpu),
        _ => true,
    }
}

fn is_choice(error: &GpuError) -> bool {
    matches!(error, GpuError::NoAdapter | GpuError::NoSuchAdapter { .. })
}
