use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Exit status of a program that a signal ended: 128 and its number.
pub const BY_SIGNAL: i32 = 128;

/// What Ctrl-C and SIGTERM ask for: the first lets the work end in order, the second ends the program at once.
#[derive(Debug)]
pub struct StopSignal(Arc<AtomicI32>);

impl StopSignal {
    /// Takes both signals from here on.
    pub fn watch() -> std::io::Result<Self> {
        let received = Arc::new(AtomicI32::new(0));
        for number in [SIGINT, SIGTERM] {
            let received = Arc::clone(&received);
            let handler = move || {
                // One exchange: where two threads get a signal each at the same time, one of them is the second.
                if received.swap(number, Ordering::Relaxed) != 0 {
                    low_level::exit(BY_SIGNAL + number);
                }
            };
            // SAFETY: an atomic exchange and `low_level::exit` may be used in signal handlers.
            unsafe { low_level::register(number, handler) }?;
        }
        Ok(Self(received))
    }

    /// Number of the signal that came, if one did.
    pub fn received(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|number| *number != 0)
    }
}
