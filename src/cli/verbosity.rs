//! `-v` and `-q`: what goes to stderr besides errors. There is one stderr, so this is one setting of the process.

use super::output::Messages;
use std::sync::atomic::{AtomicU8, Ordering};
use tracing_subscriber::EnvFilter;
use vnet_engine::data::Warnings;

/// `-q`, nothing, `-v`, `-vv` … as 0, 1, 2, 3 …
static LEVEL: AtomicU8 = AtomicU8::new(1);

/// Takes `-v` and `-q`, and sends what the graphics library logs to stderr: nothing, with `-v` warnings, with `-vv` and
/// `-vvv` more. The environment variable `VNET_LOG` names other levels, by target.
pub fn set(verbose: u8, quiet: bool) {
    let level = if quiet { 0 } else { verbose.saturating_add(1) };
    LEVEL.store(level, Ordering::Relaxed);
    let named = ["off", "off", "warn", "info"].get(usize::from(level)).unwrap_or(&"debug");
    let filter = EnvFilter::try_from_env("VNET_LOG").unwrap_or_else(|_| EnvFilter::new(named));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    lines.with_writer(|| Messages).log_internal_errors(false).init();
}

/// Whether only results and errors are printed.
pub fn is_quiet() -> bool {
    LEVEL.load(Ordering::Relaxed) == 0
}

/// Whether more than usual is printed.
pub fn is_verbose() -> bool {
    LEVEL.load(Ordering::Relaxed) > 1
}

/// `errln!` for what is neither a result nor an error.
macro_rules! tell {
    ($($argument:tt)*) => {
        if !$crate::cli::verbosity::is_quiet() {
            errln!($($argument)*);
        }
    };
}
pub(super) use tell;

/// Prints every kind of warning once, with its files.
pub fn tell_warnings(warnings: &Warnings) {
    warnings.notices().iter().for_each(|notice| tell!("warning: {notice}"));
}
