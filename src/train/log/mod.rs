//! What happens in a run, as events: `log.jsonl`, the curves, and TensorBoard get the same ones.

mod board;
mod event;
mod history;

pub(super) use board::Board;
pub use event::Event;

use super::TrainError;
use crate::files::Appender;
use crate::report::Curves;
use serde::Serialize;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A line: the event and when it happened.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// Seconds since 1970.
    time: f64,
}

/// `log.jsonl`, one JSON object per line. A line that cannot be written, as on a full disk, waits in memory for the next.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Appender,
    curves: Curves,
    board: Option<Board>,
}

impl Log {
    /// Opens the log of a run that has done `step` steps and was restored `restorations` times. Lines that do not belong to
    /// it are dropped; the curves are read from the others.
    ///
    /// # Errors
    /// [`TrainError::Io`] when the file cannot be read or opened.
    pub fn open(path: &Path, step: u64, restorations: u32) -> Result<Self, TrainError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(TrainError::io("read the log", path))?,
        };
        let (length, curves) = history::replay(&bytes, step, restorations);
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.and_then(|file| file.set_len(length).map(|()| file));
        let file = Appender::new(file.map_err(TrainError::io("open the log", path))?, length);
        Ok(Self { path: path.to_owned(), file, curves, board: None })
    }

    /// Sends the events from here on to TensorBoard too.
    pub(super) fn show_on(&mut self, board: Board) {
        self.board = Some(board);
    }

    /// TensorBoard's event file, if there is one.
    pub(super) fn board(&mut self) -> Option<&mut Board> {
        self.board.as_mut()
    }

    /// Loss, learning rate and validation Dice so far.
    pub(super) fn curves(&self, class_names: Vec<String>) -> Curves {
        Curves { class_names, ..self.curves.clone() }
    }

    /// Appends a line, now or with a later one. [`Log::flush`] fails if some are not in the file.
    pub fn write(&mut self, event: &Event) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_millis() as f64 / 1e3);
        serde_json::to_writer(self.file.waiting(), &Line { event, time }).expect("events are always JSON");
        self.file.waiting().push(b'\n');
        // flush reports a failure.
        let _ = self.file.append();
        history::add(&mut self.curves, &serde_json::to_value(event).expect("events are always JSON"));
        if let Some(board) = &mut self.board {
            board.write(event);
        }
    }

    /// Writes what waits, and flushes the file to disk.
    ///
    /// # Errors
    /// [`TrainError::Io`] when lines still wait.
    pub fn flush(&mut self) -> Result<(), TrainError> {
        self.file.sync().map_err(TrainError::io("write to the log", &self.path))
    }
}
