//! The one place that prints.
//!
//! Rust ignores SIGPIPE, and so does this program: a reader that goes away must not end a training. A stream that fails is
//! given up, never a panic:
//!
//! | stream | what happened | what follows |
//! |---|---|---|
//! | stdout | closed, or its reader has gone (`head`, `less`) | the rest of the results is dropped; the status is that of the work |
//! | stdout | anything else, as a full disk | the work is finished, then an error and status 1: [`finish`] |
//! | stderr | anything | the message is dropped |

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why nothing more is written to stdout.
enum Stdout {
    Open,
    ReaderGone,
    Failed(io::Error),
}

static STDOUT: Mutex<Stdout> = Mutex::new(Stdout::Open);

/// Results could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("standard output: cannot write the results: {0}")]
pub struct ResultsLost(#[source] io::Error);

fn state() -> MutexGuard<'static, Stdout> {
    STDOUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works on stdout unless it is given up.
fn on_stdout(work: impl FnOnce() -> io::Result<()>) {
    let mut state = state();
    if !matches!(*state, Stdout::Open) {
        return;
    }
    match work() {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => *state = Stdout::ReaderGone,
        Err(error) => *state = Stdout::Failed(error),
    }
}

/// Prints results; the macros [`out`] and [`outln`] call it.
pub fn print(text: Arguments<'_>) {
    on_stdout(|| io::stdout().lock().write_fmt(text));
}

/// Whether nobody reads results any more.
pub fn reader_is_gone() -> bool {
    !matches!(*state(), Stdout::Open)
}

/// Prints a message for a person; the macro [`errln`] calls it. One write for each, so that lines of threads do not mix.
pub fn print_message(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Writes what is still buffered.
pub fn flush() {
    on_stdout(|| io::stdout().lock().flush());
}

/// The end of the results.
///
/// # Errors
/// [`ResultsLost`] when results could not be printed, now or before, and their reader had not gone.
pub fn finish() -> Result<(), ResultsLost> {
    flush();
    match std::mem::replace(&mut *state(), Stdout::ReaderGone) {
        Stdout::Failed(error) => Err(ResultsLost(error)),
        Stdout::Open | Stdout::ReaderGone => Ok(()),
    }
}

/// Prints what clap has to say: help and version as results, errors of usage as messages.
pub fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr() {
        on_stdout(|| printed);
        if let Err(lost) = finish() {
            print_message(format_args!("error: {lost}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// stderr for other crates, which might panic on an error.
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `print!` of results.
macro_rules! out {
    ($($argument:tt)*) => { $crate::cli::output::print(format_args!($($argument)*)) };
}

/// `println!` of results.
macro_rules! outln {
    ($($argument:tt)*) => {
        $crate::cli::output::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// `eprintln!` of messages.
macro_rules! errln {
    ($($argument:tt)*) => { $crate::cli::output::print_message(format_args!($($argument)*)) };
}
