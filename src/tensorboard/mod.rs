//! Event files that TensorBoard reads: a row of records, each an `Event` message.
//!
//! A record is the length of the message (64 bits), the masked CRC-32C of these eight bytes, the message, and its masked
//! CRC-32C, all little-endian (`tensorflow/core/lib/io/record_writer.h`). Files only grow. A run that goes on opens another
//! file, whose second event says from which step on what stood before is void (`SessionLog`, `START`): what
//! `SummaryWriter(purge_step=…)` of PyTorch writes.

mod events;
pub mod proto;
pub mod record;

pub use events::{EventFile, scalar};
