//! vnet-engine.
