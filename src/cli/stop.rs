use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit status of a program that a signal ended: 128 and its number.
pub const BY_SIGNAL: i32 = 128;

/// What Ctrl-C and SIGTERM ask for: the first lets the work end in order, the second ends the program at once.
#[derive(Debug)]
pub struct StopSignal(Arc<AtomicUsize>);

impl StopSignal {
    /// Takes both signals from here on.
    pub fn watch() -> std::io::Result<Self> {
        let (asked, signal) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for number in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset.
            flag::register_conditional_shutdown(number, BY_SIGNAL + number, Arc::clone(&asked))?;
            flag::register(number, Arc::clone(&asked))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self(signal))
    }

    /// Number of the signal that came, if one did.
    pub fn received(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }
}
