//! Memory that prepared volumes may take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Memory of a case while it is prepared, in units of what it takes afterwards: it is there before and after resampling, and in
/// its patch.
const WHILE_PREPARED: usize = 3;

/// Bytes that prepared volumes of training and validation may take together. Clones share one budget.
///
/// As many bytes again, or those of one case, may be taken by cases that are being prepared at one time.
///
/// ```
/// use vnet_engine::data::CacheBudget;
///
/// let budget = CacheBudget::new(2 << 30);
/// assert_eq!(budget.clone().left(), 2 << 30);
/// ```
#[derive(Clone, Debug)]
pub struct CacheBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: usize,
    left: AtomicUsize,
    preparing: Mutex<Preparing>,
    finished: Condvar,
}

/// The cases that are being prepared.
#[derive(Debug, Default)]
struct Preparing {
    count: usize,
    /// Bytes of the largest case that has been prepared; 0 before the first.
    largest: usize,
}

/// The right to prepare a case, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a CacheBudget);

impl CacheBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> CacheBudget {
        let (left, preparing, finished) = (AtomicUsize::new(bytes), Mutex::default(), Condvar::new());
        CacheBudget(Arc::new(Shared { bytes, left, preparing, finished }))
    }

    /// Bytes that are not taken.
    pub fn left(&self) -> usize {
        self.0.left.load(Ordering::Relaxed)
    }

    /// Takes bytes, if that many are left.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until a case may be prepared beside those that are. The first case is prepared alone: it says how large cases
    /// are.
    pub(super) fn turn(&self) -> Turn<'_> {
        let mut preparing = self.preparing();
        while !preparing.may_begin(self.0.bytes) {
            preparing = self.0.finished.wait(preparing).unwrap_or_else(PoisonError::into_inner);
        }
        preparing.count += 1;
        Turn(self)
    }

    fn preparing(&self) -> MutexGuard<'_, Preparing> {
        // No code panics while it holds the lock, so a poisoned one is whole.
        self.0.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Preparing {
    fn may_begin(&self, allowed: usize) -> bool {
        let needed = (self.count + 1).saturating_mul(self.largest).saturating_mul(WHILE_PREPARED);
        self.count == 0 || (self.largest > 0 && needed <= allowed)
    }
}

impl Turn<'_> {
    /// Tells how large the case is.
    pub(super) fn made(&self, bytes: usize) {
        let mut preparing = self.0.preparing();
        preparing.largest = preparing.largest.max(bytes);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.preparing().count -= 1;
        self.0.0.finished.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_prepared_together_as_far_as_the_budget_goes() {
        let budget = CacheBudget::new(95);
        let count = |budget: &CacheBudget| budget.preparing().count;
        let first = budget.turn();
        assert!(!budget.preparing().may_begin(usize::MAX), "the first is alone");
        first.made(10);
        // Three times 10 for each of three.
        let more = [budget.turn(), budget.turn()];
        assert_eq!(count(&budget), 3);
        assert!(!budget.preparing().may_begin(95) && budget.preparing().may_begin(120));
        drop(more);
        more_waits_for(&budget, first);
        let none = CacheBudget::new(0);
        none.turn().made(1000);
        let alone = none.turn();
        assert!(!none.preparing().may_begin(0));
        drop(alone);
        assert!(none.preparing().may_begin(0), "one is always allowed");
    }

    /// A larger case: until it ends, another waits.
    fn more_waits_for(budget: &CacheBudget, large: Turn<'_>) {
        large.made(40);
        let begun = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let turn = budget.turn();
                begun.store(1, Ordering::SeqCst);
                drop(turn);
            });
            std::thread::sleep(std::time::Duration::from_millis(30));
            assert_eq!(begun.load(Ordering::SeqCst), 0);
            drop(large);
            other.join().expect("it ends");
        });
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}
