//! Errors in words, and their exit status.

use super::stop::BY_SIGNAL;
use vnet_engine::data::DataError;
use vnet_engine::evaluate::EvaluateError;
use vnet_engine::gpu::GpuError;
use vnet_engine::infer::{EnsembleError, InferError};
use vnet_engine::interop::InteropError;
use vnet_engine::metrics::MetricError;
use vnet_engine::nn::ModelError;
use vnet_engine::plan::PlanError;
use vnet_engine::train::{ConfigError, TrainError};
use vnet_engine::tuning::KernelTableError;

/// Wrong input or usage, as opposed to a failure of the machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongInput(pub String);

/// [`WrongInput`] as any error.
pub fn wrong(text: impl Into<String>) -> anyhow::Error {
    WrongInput(text.into()).into()
}

/// Several errors.
#[derive(Debug, thiserror::Error)]
#[error("{} problems", .0.len())]
pub struct Problems(Vec<anyhow::Error>);

impl Problems {
    /// All of them, or the only one.
    pub fn of(mut problems: Vec<anyhow::Error>) -> anyhow::Error {
        if problems.len() == 1 { problems.remove(0) } else { anyhow::Error::from(Self(problems)) }
    }
}

/// Some of many volumes could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{} of {all} volumes failed", .failures.len())]
pub struct Failures {
    /// Why, each with the name of its file.
    pub failures: Vec<anyhow::Error>,
    /// Number of volumes.
    pub all: usize,
    /// Number of those that were not tried.
    pub left: usize,
}

/// An error in words: one line, or a heading and a line for each of several problems. Names of files and keys may hold
/// anything; control characters are escaped, so that no name makes a line or moves the cursor.
pub fn message(error: &anyhow::Error) -> String {
    let lines = |problems: &[String]| -> String { problems.iter().map(|p| format!("\n  {}", escaped(p))).collect() };
    if let Some(Failures { failures, left, .. }) = error.downcast_ref() {
        let problems: Vec<String> = failures.iter().flat_map(problems_of).collect();
        let rest = if *left > 0 { format!(", {left} were not tried") } else { String::new() };
        return format!("{error}{rest}{}", lines(&problems));
    }
    match problems_of(error).as_slice() {
        [] => escaped(&error.to_string()),
        [only] => escaped(only),
        several => format!("{} problems{}", several.len(), lines(several)),
    }
}

/// The single problems of an error that may stand for several.
fn problems_of(error: &anyhow::Error) -> Vec<String> {
    let of_data = |error: &DataError| match error {
        DataError::Many { problems, .. } => problems.iter().map(DataError::to_string).collect(),
        error => vec![error.to_string()],
    };
    let of_config = |error: &ConfigError| match error {
        ConfigError::Many(problems) => problems.iter().map(ConfigError::to_string).collect(),
        error => vec![error.to_string()],
    };
    match (error.downcast_ref::<DataError>(), error.downcast_ref::<ConfigError>(), error.downcast_ref::<TrainError>()) {
        (Some(error), _, _) | (_, _, Some(TrainError::Data(error))) => of_data(error),
        (_, Some(error), _) | (_, _, Some(TrainError::Config(error))) => of_config(error),
        _ => match (error.downcast_ref::<Problems>(), error.downcast_ref::<EvaluateError>()) {
            (Some(Problems(problems)), _) => problems.iter().flat_map(problems_of).collect(),
            (_, Some(EvaluateError::Many(problems))) => problems.iter().map(EvaluateError::to_string).collect(),
            _ => vec![error.to_string()],
        },
    }
}

fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// 2 for wrong usage and wrong input, 128 and the signal's number after a signal, 1 for other failures.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    if let Some(TrainError::Interrupted { signal, .. }) = error.downcast_ref() {
        return u8::try_from(BY_SIGNAL + signal).unwrap_or(1);
    }
    if let Some(Problems(problems)) = error.downcast_ref() {
        return problems.iter().map(exit_status).max().unwrap_or(2);
    }
    if is_full_disk(error) || error.is::<Failures>() {
        return 1;
    }
    let user = error.chain().any(|cause| {
        let judged = [
            cause.downcast_ref().map(is_choice),
            cause.downcast_ref().map(is_wrong_training),
            cause.downcast_ref().map(is_wrong_model),
            cause.downcast_ref().map(is_wrong_prediction),
            cause.downcast_ref().map(is_wrong_exchange),
            cause.downcast_ref().map(is_wrong_ensemble),
        ];
        judged.into_iter().flatten().next().unwrap_or_else(|| {
            cause.is::<WrongInput>()
                || cause.is::<DataError>()
                || cause.is::<ConfigError>()
                || cause.is::<PlanError>()
                || cause.is::<MetricError>()
                || cause.is::<EvaluateError>()
                || cause.is::<KernelTableError>()
        })
    });
    if user { 2 } else { 1 }
}

fn is_wrong_training(error: &TrainError) -> bool {
    match error {
        TrainError::Gpu(gpu) => is_choice(gpu),
        TrainError::Infer(infer) => is_wrong_prediction(infer),
        TrainError::Model(model) => is_wrong_model(model),
        TrainError::Io { source, .. } => is_wrong_path(source),
        TrainError::Report(_) | TrainError::Unhealthy { .. } => false,
        _ => true,
    }
}

fn is_wrong_model(error: &ModelError) -> bool {
    match error {
        ModelError::Io { source, .. } => is_wrong_path(source),
        _ => true,
    }
}

/// Whether another path may help, as opposed to a full disk or a broken one.
fn is_wrong_path(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), IsADirectory | NotADirectory | NotFound | PermissionDenied)
}

/// Whether a disk is full, so that another path on it does not help.
pub fn is_full_disk(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let full = |io: &std::io::Error| matches!(io.kind(), StorageFull | QuotaExceeded);
    error.chain().any(|cause| cause.downcast_ref().is_some_and(full))
}

fn is_wrong_prediction(error: &InferError) -> bool {
    match error {
        InferError::Gpu(gpu) => is_choice(gpu),
        _ => true,
    }
}

fn is_wrong_exchange(error: &InteropError) -> bool {
    match error {
        InteropError::Io { source, .. } => is_wrong_path(source),
        InteropError::Model(model) => is_wrong_model(model),
        _ => true,
    }
}

fn is_wrong_ensemble(error: &EnsembleError) -> bool {
    match error {
        EnsembleError::Io { source, .. } => is_wrong_path(source),
        EnsembleError::Model(model) => is_wrong_model(model),
        EnsembleError::Wrong { .. } => true,
    }
}

fn is_choice(error: &GpuError) -> bool {
    matches!(error, GpuError::NoAdapter | GpuError::NoSuchAdapter { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::path::PathBuf;

    #[test]
    fn a_path_is_the_users_and_a_disk_the_machines() {
        for (kind, status) in [
            (ErrorKind::NotFound, 2),
            (ErrorKind::PermissionDenied, 2),
            (ErrorKind::StorageFull, 1),
            (ErrorKind::Other, 1),
        ] {
            let model = || ModelError::Io { path: PathBuf::new(), source: kind.into() };
            assert_eq!(exit_status(&model().into()), status, "{kind}");
            assert_eq!(exit_status(&InteropError::from(model()).into()), status, "{kind}");
        }
        let data = || DataError::Io { path: PathBuf::new(), action: "write", source: ErrorKind::StorageFull.into() };
        assert_eq!(exit_status(&data().into()), 1);
        assert_eq!(exit_status(&InferError::from(data()).into()), 1);
    }
}
