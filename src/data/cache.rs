//! Volumes in memory, within a budget that several users share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::DataError;

/// Bytes that prepared volumes of training and validation may take together. Clones share one budget.
///
/// ```
/// use vnet_engine::data::CacheBudget;
///
/// let budget = CacheBudget::new(2 << 30);
/// assert_eq!(budget.clone().left(), 2 << 30);
/// ```
#[derive(Clone, Debug)]
pub struct CacheBudget(Arc<AtomicUsize>);

impl CacheBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> CacheBudget {
        CacheBudget(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Bytes that are not taken.
    pub fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes bytes, if that many are left.
    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What can be kept in a [`Cache`].
pub(crate) trait Bytes {
    /// Bytes in memory.
    fn bytes(&self) -> usize;
}

/// Values by number, kept until the budget is spent. Nothing is evicted: every case comes once per epoch or validation, so
/// a policy that evicts the oldest would lose each case just before it is needed again.
#[derive(Debug)]
pub(crate) struct Cache<T: Bytes> {
    budget: CacheBudget,
    held: Mutex<HashMap<usize, Arc<T>>>,
}

impl<T: Bytes> Cache<T> {
    /// Nothing yet.
    pub(crate) fn new(budget: CacheBudget) -> Cache<T> {
        Cache { budget, held: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Arc<T>>> {
        // No code panics while it holds the lock, so a poisoned one is whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a number: the one that is kept, or a new one, which is kept if the budget allows it.
    pub(crate) fn get_or_make(
        &self,
        number: usize,
        make: impl FnOnce() -> Result<T, DataError>,
    ) -> Result<Arc<T>, DataError> {
        if let Some(value) = self.lock().get(&number) {
            return Ok(Arc::clone(value));
        }
        // Without the lock: another thread may make the same value, which is equal.
        let value = Arc::new(make()?);
        let mut held = self.lock();
        if !held.contains_key(&number) && self.budget.take(value.bytes()) {
            held.insert(number, Arc::clone(&value));
        }
        Ok(value)
    }
}

impl<T: Bytes> Drop for Cache<T> {
    fn drop(&mut self) {
        let bytes = self.lock().values().map(|value| value.bytes()).sum();
        self.budget.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bytes for Vec<u8> {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn caches_share_a_budget_and_give_it_back() {
        let budget = CacheBudget::new(10);
        let [first, second] = [(); 2].map(|()| Cache::new(budget.clone()));
        let made = |cache: &Cache<Vec<u8>>, number, bytes: usize| {
            let mut made = false;
            let value = cache.get_or_make(number, || {
                made = true;
                Ok(vec![0; bytes])
            });
            assert_eq!(value.expect("made").len(), bytes);
            made
        };
        assert!(made(&first, 0, 6) && !made(&first, 0, 6));
        assert_eq!(budget.left(), 4);
        assert!(made(&second, 0, 5) && made(&second, 0, 5), "there is no room for it");
        assert!(made(&second, 1, 4) && !made(&second, 1, 4));
        assert_eq!(budget.left(), 0);
        drop(first);
        assert_eq!(budget.left(), 6);
        assert!(made(&second, 0, 5) && !made(&second, 0, 5));
        drop(second);
        assert_eq!(budget.left(), 10);
    }
}
