//! Batches between the threads that make them and the training that takes them, in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::DataError;
use super::loader::Batch;

/// Numbered batches. Threads make whichever is next, and a few more than were taken, so that one that takes long holds up no
/// other thread.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Batches that are begun and not taken, at most.
    ahead: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: BTreeMap<u64, Result<Batch, DataError>>,
    /// Number of the next batch to begin.
    begun: u64,
    /// Number of the next batch to take.
    taken: u64,
    stopped: bool,
}

/// A batch that a thread makes.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    shelf: &'a Shelf,
    number: u64,
    batch: Option<Result<Batch, DataError>>,
}

impl Shelf {
    pub(super) fn new(ahead: u64) -> Shelf {
        Shelf { ahead, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch to make, when there is room for it; none when no more are wanted.
    pub(super) fn begin(&self) -> Option<Begun<'_>> {
        let mut state = self.state();
        while !state.stopped && state.begun >= state.taken + self.ahead {
            state = self.wait(state);
        }
        if state.stopped {
            return None;
        }
        state.begun += 1;
        Some(Begun { shelf: self, number: state.begun - 1, batch: None })
    }

    /// Waits for the next batch. After an error there are no more.
    pub(super) fn take(&self) -> Result<Batch, DataError> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return Err(DataError::LoaderStopped);
            }
            let number = state.taken;
            if let Some(batch) = state.ready.remove(&number) {
                state.taken += 1;
                state.stopped = batch.is_err();
                self.changed.notify_all();
                return batch;
            }
            state = self.wait(state);
        }
    }

    /// No more batches are wanted.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}

impl Begun<'_> {
    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Puts the batch on the shelf.
    pub(super) fn finish(mut self, batch: Result<Batch, DataError>) {
        self.batch = Some(batch);
    }
}

impl Drop for Begun<'_> {
    /// A thread that panics still says that there will be no such batch.
    fn drop(&mut self) {
        let batch = self.batch.take().unwrap_or(Err(DataError::LoaderStopped));
        self.shelf.state().ready.insert(self.number, batch);
        self.shelf.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u64) -> Batch {
        Batch { cases: vec![number.to_string()], ..Batch::default() }
    }

    /// Whichever thread is slow: batches come in order, and no thread is further ahead than it may be.
    #[test]
    fn batches_come_in_order_however_long_each_takes() {
        let shelf = Shelf::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(begun) = shelf.begin() {
                        let number = begun.number();
                        assert!(number < shelf.state().taken + 3);
                        std::thread::sleep(std::time::Duration::from_millis(number * 7 % 5));
                        begun.finish(Ok(batch(number)));
                    }
                });
            }
            for number in 0..50 {
                assert_eq!(shelf.take().expect("a batch"), batch(number));
            }
            shelf.stop();
        });
        assert!(matches!(shelf.take(), Err(DataError::LoaderStopped)) && shelf.begin().is_none());
    }

    #[test]
    fn batches_before_an_error_come_and_none_after_it() {
        let shelf = Shelf::new(4);
        let begun: Vec<Begun<'_>> = (0..4).map(|_| shelf.begin().expect("room")).collect();
        let [first, second, third, fourth] = begun.try_into().expect("four");
        fourth.finish(Ok(batch(3)));
        third.finish(Ok(batch(2)));
        // A thread that panicked.
        drop(second);
        first.finish(Ok(batch(0)));
        assert_eq!(shelf.take().expect("a batch"), batch(0));
        assert!((0..2).all(|_| matches!(shelf.take(), Err(DataError::LoaderStopped))));
        assert!(shelf.begin().is_none());
    }
}
