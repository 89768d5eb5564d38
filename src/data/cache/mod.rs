//! Prepared cases, kept in memory within a budget that several users share, and beyond it on disk.
//!
//! | module | what it is about |
//! |---|---|
//! | `budget` | how much memory prepared cases take, and those that are being prepared |
//! | `cases` | the cases of one user: each is prepared once, whoever asks for it |
//! | `forecast` | how much all of it will take |
//! | `disk`, `entry`, `key` | the folder, a file in it, and what a file depends on |

mod budget;
mod cases;
mod disk;
mod entry;
mod forecast;
mod key;

pub use budget::CacheBudget;
pub(crate) use cases::{PreparedCases, Use};
pub use disk::{DiskCache, DiskUse};
pub use forecast::{training_bytes, validation_bytes};

#[cfg(feature = "fuzzing")]
pub(crate) use cases::fuzz as fuzz_entry;
