//! Failures that are made to happen, for tests of what follows them. Only with the feature `fault-injection`.

use super::{Gpu, GpuError};
use std::sync::{Mutex, PoisonError};

/// A failure and when it happens. Counts start at 0 when the fault is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The driver refuses this allocation of a buffer.
    OutOfMemory {
        /// Buffers allocated before.
        allocation: u64,
    },
    /// The device is lost after this dispatch.
    DeviceLost {
        /// Dispatches before.
        dispatch: u64,
    },
    /// The first number that a dispatch writes becomes NaN.
    NotANumber {
        /// Dispatches before the first of them.
        dispatch: u64,
        /// From then on every dispatch this many later; 0: only once.
        period: u64,
    },
}

/// What was counted since a fault was armed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Buffers.
    pub allocations: u64,
    /// Dispatches.
    pub dispatches: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<(Option<Fault>, Counts)>);

/// What an executor does after a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Lose,
    Spoil,
}

impl Faults {
    /// Whether this allocation fails.
    fn refuses(&self) -> bool {
        let (fault, counts) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.allocations += 1;
        *fault == Some(Fault::OutOfMemory { allocation: counts.allocations - 1 })
    }

    pub(crate) fn after_dispatch(&self) -> After {
        let (fault, counts) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = counts.dispatches;
        counts.dispatches += 1;
        match *fault {
            Some(Fault::DeviceLost { dispatch }) if dispatch == number => After::Lose,
            Some(Fault::NotANumber { dispatch, period })
                if number == dispatch
                    || (period > 0 && number > dispatch && (number - dispatch).is_multiple_of(period)) =>
            {
                After::Spoil
            }
            _ => After::Nothing,
        }
    }
}

impl Gpu {
    /// Arms a fault, or none, and starts counting; dispatches are counted only while one is armed.
    pub fn inject(&self, fault: Option<Fault>) {
        *self.faults.0.lock().unwrap_or_else(PoisonError::into_inner) = (fault, Counts::default());
    }

    pub(crate) fn has_fault(&self) -> bool {
        self.faults.0.lock().unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Allocations and dispatches since [`Gpu::inject`].
    pub fn counts(&self) -> Counts {
        self.faults.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(super) fn refuse_allocation(&self) -> Result<(), GpuError> {
        match self.faults.refuses() {
            true => Err(GpuError::OutOfMemory { reason: "injected".to_owned() }),
            false => Ok(()),
        }
    }

    /// Loses the device: like a driver that resets it, down to every later call.
    pub(crate) fn lose(&self) {
        self.failure.keep(GpuError::Lost { reason: "injected".to_owned() });
        self.device.destroy();
    }
}
