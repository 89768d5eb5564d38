use super::{BufferRole, Plan};
use crate::kernel::Arena;

impl Plan {
    /// For each buffer of this plan, the buffer of `lender` that it can be: for the parameters its arena `parameters`, and
    /// slots that are large enough. The two plans must not run at once.
    pub fn borrowed_from(&self, lender: &Self, parameters: Arena) -> Vec<Option<usize>> {
        let mut free: Vec<usize> =
            (0..lender.buffers.len()).filter(|&b| lender.buffers[b].role == BufferRole::Slot).collect();
        free.sort_by_key(|&b| std::cmp::Reverse(lender.buffers[b].bytes));
        let lent = BufferRole::Arena(parameters);
        let borrow = |buffer: &super::BufferSpec| match buffer.role {
            BufferRole::Arena(Arena::Parameters) => lender.buffers.iter().position(|b| b.role == lent),
            // Slots of both plans fall in size, so taking the largest that is left wastes nothing.
            BufferRole::Slot if free.first().is_some_and(|&b| lender.buffers[b].bytes >= buffer.bytes) => {
                Some(free.remove(0))
            }
            _ => None,
        };
        self.buffers.iter().map(borrow).collect()
    }

    /// Bytes that this plan takes besides what it borrows from `lender`.
    pub fn bytes_beside(&self, lender: &Self) -> u64 {
        let borrowed = self.borrowed_from(lender, Arena::Parameters);
        let lent: u64 = self.buffers.iter().zip(borrowed).filter(|(_, b)| b.is_some()).map(|(b, _)| b.bytes).sum();
        self.memory.total() - lent
    }
}
