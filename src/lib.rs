//! vnet-engine.

pub mod metrics;
pub mod report;
