//! Sharing of whole buffers between values whose lifetimes do not overlap.

/// When a value exists: from the node that writes it to the last node that reads it, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Node that writes the value.
    pub first: usize,
    /// Last node that reads it.
    pub last: usize,
    /// Size in bytes.
    pub bytes: u64,
}

impl Lifetime {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Which slot each value lives in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotAssignment {
    /// Slot of each value, in the order of the lifetimes.
    pub slots: Vec<usize>,
    /// Size of each slot in bytes.
    pub bytes: Vec<u64>,
}

/// Assigns slots greedily, largest value first (Pisarchyk and Lee 2020, *Efficient Memory Management for Deep Neural Net
/// Inference*, "greedy by size" with shared objects): each value takes the first slot that is free throughout its
/// lifetime, and since sizes only fall, every slot is as large as its first value.
pub fn assign_slots(lifetimes: &[Lifetime]) -> SlotAssignment {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lifetimes[i].bytes), lifetimes[i].first, i));
    let mut slots = vec![0; lifetimes.len()];
    let mut bytes = Vec::new();
    let mut tenants: Vec<Vec<usize>> = Vec::new();
    for i in order {
        let free = tenants.iter().position(|t| t.iter().all(|&j| !lifetimes[j].overlaps(&lifetimes[i])));
        let slot = free.unwrap_or_else(|| {
            tenants.push(Vec::new());
            bytes.push(lifetimes[i].bytes);
            tenants.len() - 1
        });
        tenants[slot].push(i);
        slots[i] = slot;
    }
    SlotAssignment { slots, bytes }
}

/// The most bytes that are live at one node: no assignment needs less.
pub fn lower_bound(lifetimes: &[Lifetime]) -> u64 {
    let nodes = lifetimes.iter().map(|l| l.last + 1).max().unwrap_or(0);
    let mut change = vec![0i64; nodes + 1];
    for l in lifetimes {
        change[l.first] += l.bytes as i64;
        change[l.last + 1] -= l.bytes as i64;
    }
    let mut live = 0;
    change.iter().fold(0, |peak, c| {
        live += c;
        peak.max(live)
    }) as u64
}
