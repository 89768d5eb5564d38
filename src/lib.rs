//! vnet-engine.

pub mod data;
