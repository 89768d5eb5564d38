//! Where submissions end: desktop systems reset a device that is busy with one for two seconds.

use super::PlannedDispatch;

/// Flops in the time of a byte of traffic: 0.2 TFLOP/s and 20 GB/s, which small GPUs reach.
const FLOPS_PER_BYTE: u64 = 10;

/// Work of a dispatch that executes `flops` and binds `bytes`, in flops.
pub(super) fn work(flops: u64, bytes: u64) -> u64 {
    flops.max(FLOPS_PER_BYTE * bytes)
}

/// Numbers the submissions, in order, so that none exceeds `bound` that has more than one dispatch.
pub(super) fn number(dispatches: &mut [PlannedDispatch], bound: u64) {
    let (mut submission, mut sum) = (0, 0);
    for (i, dispatch) in dispatches.iter_mut().enumerate() {
        if i > 0 && sum + dispatch.work > bound {
            (submission, sum) = (submission + 1, 0);
        }
        sum += dispatch.work;
        dispatch.submission = submission;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_filled_in_order_and_only_a_single_dispatch_exceeds_the_bound() {
        let of = |work: u64| PlannedDispatch {
            kernel: 0,
            params: Vec::new(),
            bindings: Vec::new(),
            grid: [1; 3],
            step: 0,
            work,
            submission: 0,
        };
        let mut dispatches: Vec<_> = [4, 6, 1, 12, 3, 3, 3, 3].map(of).into();
        number(&mut dispatches, 10);
        let numbers: Vec<usize> = dispatches.iter().map(|d| d.submission).collect();
        assert_eq!(numbers, [0, 0, 1, 2, 3, 3, 3, 4]);
    }
}
