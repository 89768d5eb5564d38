//! Signals: Ctrl-C (SIGINT), SIGTERM, and SIGHUP when a terminal is closed.
//!
//! The first signal ends the program at once, wherever it is: files are replaced in one step, so nothing is half-written.
//! While a training has steps to lose ([`in_order`]), it is asked to write its checkpoint and end instead. A second signal
//! ends the program in any case.

use super::output;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;
use vnet_engine::files::abandon_files;

/// Exit status of a program that a signal ended: 128 and its number.
pub const BY_SIGNAL: i32 = 128;
/// How soon a signal is answered.
const GLANCE: Duration = Duration::from_millis(50);
/// How long the last message may take: its reader may have stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Number of the signal that came, or 0.
static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// Whether the work ends by itself after a signal.
static IN_ORDER: AtomicBool = AtomicBool::new(false);
/// What a person can do after a signal.
static HINT: Mutex<String> = Mutex::new(String::new());

/// Takes the signals from here on.
///
/// # Errors
/// The system's.
pub fn watch() -> std::io::Result<()> {
    for number in signals() {
        let handler = move || {
            // One exchange: where two threads get a signal each at the same time, one of them is the second.
            if RECEIVED.swap(number, Ordering::SeqCst) != 0 {
                low_level::exit(BY_SIGNAL + number);
            }
        };
        // SAFETY: an atomic exchange and `low_level::exit` may be used in signal handlers.
        unsafe { low_level::register(number, handler) }?;
    }
    let glance = || {
        loop {
            std::thread::sleep(GLANCE);
            end_if_asked();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(glance)?;
    Ok(())
}

/// SIGHUP is left alone where it is ignored: that is what `nohup` is for.
#[cfg(unix)]
fn signals() -> Vec<i32> {
    let mut hang_up = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action `sigaction` changes nothing; it fills in the present one where it returns 0, and zeros
    // are a valid one where it does not.
    let ignored = unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), hang_up.as_mut_ptr()) == 0
            && hang_up.assume_init().sa_sigaction == libc::SIG_IGN
    };
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend((!ignored).then_some(libc::SIGHUP));
    signals
}

#[cfg(not(unix))]
fn signals() -> Vec<i32> {
    vec![SIGINT, SIGTERM]
}

/// Number of the signal that came, if one did.
pub fn received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::SeqCst)).filter(|number| *number != 0)
}

/// Says whether the work asks [`received`] and ends by itself. Once it does not, a signal that it has not seen ends the program.
pub fn in_order(asks: bool) {
    IN_ORDER.store(asks, Ordering::SeqCst);
    end_if_asked();
}

/// What a person can do after a signal, as the end of a sentence.
pub fn hint(text: String) {
    *HINT.lock().unwrap_or_else(PoisonError::into_inner) = text;
}

fn end_if_asked() {
    if let Some(number) = received().filter(|_| !IN_ORDER.load(Ordering::SeqCst)) {
        abandon_files();
        let (told, heard) = mpsc::channel();
        std::thread::spawn(move || {
            output::flush();
            let hint = HINT.lock().unwrap_or_else(PoisonError::into_inner);
            errln!("stopped by {}{hint}", name(number));
            told.send(())
        });
        let _ = heard.recv_timeout(LAST_WORDS);
        // Other threads and libraries may be in the middle of anything, so none of their clean-up runs.
        low_level::exit(BY_SIGNAL + number);
    }
}

fn name(number: i32) -> &'static str {
    match number {
        SIGINT => "Ctrl-C (SIGINT)",
        other => low_level::signal_name(other).unwrap_or("a signal"),
    }
}
