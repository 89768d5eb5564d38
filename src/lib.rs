//! vnet-engine.

pub mod metrics;
