//! Event files that TensorBoard reads: a sequence of records, each an `Event` message.
//!
//! A record is the length of the message (64 bits), the masked CRC-32C of these eight bytes, the message, and its
//! masked CRC-32C, all little-endian (`tensorflow/core/lib/io/record_writer.h`). Files only grow. A resumed run opens
//! another file, whose second event (`SessionLog`, `START`) declares older events void from a step on, as
//! `SummaryWriter(purge_step=…)` of PyTorch does.

mod events;
pub mod proto;
pub mod record;

pub use events::{EventFile, scalar};
