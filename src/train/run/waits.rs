//! How long steps wait for their batches.

use super::{Progress, Run};
use crate::train::Event;
use std::time::Duration;

/// Time of steps, and how much of it they waited for their batches.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waits {
    /// Since the last event.
    recent: Times,
    /// Before it.
    earlier: Times,
}

#[derive(Debug, Clone, Copy, Default)]
struct Times {
    waited: Duration,
    all: Duration,
}

impl Times {
    fn share(self) -> f64 {
        self.waited.as_secs_f64() / self.all.as_secs_f64().max(1e-9)
    }
}

impl Waits {
    /// A step waited so long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.recent.waited += time;
        self.recent.all += time;
    }

    /// A step worked so long.
    pub(super) fn worked(&mut self, time: Duration) {
        self.recent.all += time;
    }

    /// Share of the time of all steps, and the seconds of that share.
    pub(super) fn of_all(&self) -> (f64, f64) {
        let waited = self.earlier.waited + self.recent.waited;
        let all = Times { waited, all: self.earlier.all + self.recent.all };
        (all.share(), waited.as_secs_f64())
    }

    /// The event of the time since the last.
    fn event(&mut self, step: u64) -> Event {
        let recent = std::mem::take(&mut self.recent);
        self.earlier.waited += recent.waited;
        self.earlier.all += recent.all;
        Event::Loader {
            step,
            waited_seconds: recent.waited.as_secs_f64(),
            seconds: recent.all.as_secs_f64(),
            waited_share: recent.share(),
        }
    }
}

impl<P: Progress> Run<'_, P> {
    /// Logs how long the steps since the last call waited, and what the cache on disk holds.
    pub(super) fn log_loader(&mut self, step: u64) {
        let event = self.waits.event(step);
        self.log.write(&event);
        let used = self.disk.in_use();
        if let Some(folder) = self.disk.folder().filter(|_| used.entries > 0) {
            let folder = folder.to_owned();
            self.log.write(&Event::Cache { step, folder, entries: used.entries, bytes: used.bytes, made: used.made });
        }
    }

    /// Passes on what the cache has to say.
    pub(super) fn note_cache(&mut self) {
        self.disk.take_notes().iter().for_each(|note| self.progress.note(note));
    }

    /// The run is finished and needs its cache no more.
    pub(super) fn remove_cache(&mut self) {
        if let (Err(error), Some(folder)) = (self.disk.remove(), self.disk.folder()) {
            self.progress.note(&format!("{}: cannot be removed: {error}; it is not needed any more", folder.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_since_the_last_event_and_of_all() {
        let mut waits = Waits::default();
        let second = Duration::from_secs(1);
        waits.waited(second);
        waits.worked(3 * second);
        let Event::Loader { step, waited_seconds, seconds, waited_share } = waits.event(7) else { panic!() };
        assert_eq!((step, waited_seconds, seconds, waited_share), (7, 1.0, 4.0, 0.25));
        waits.worked(4 * second);
        assert_eq!(waits.of_all(), (0.125, 1.0));
        let Event::Loader { waited_share, .. } = waits.event(8) else { panic!() };
        assert_eq!((waited_share, waits.of_all().0), (0.0, 0.125));
        assert_eq!(Waits::default().of_all(), (0.0, 0.0));
    }
}
