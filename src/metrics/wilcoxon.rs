//! Wilcoxon's signed-rank test of paired differences (Wilcoxon 1945, Biometrics Bulletin 1:80).
//!
//! Differences of zero are left out (Wilcoxon's own way; `zero_method="wilcox"` in scipy). The others are ranked by
//! their absolute value, equal ones with their mean rank; the statistic is W+, the sum of the ranks of the positive
//! ones. If neither method is better, every sign is as likely as its opposite, which gives W+ a distribution over 2^n
//! choices. Up to 50 differences it is counted exactly, with the actual ranks, so ties need no correction; for more,
//! the normal approximation has
//!
//! ```text
//! mean n (n + 1) / 4        variance n (n + 1) (2 n + 1) / 24 - Σ (t³ - t) / 48        t: sizes of groups of equal ranks
//! ```
//!
//! without continuity correction. p is two-sided: twice the smaller tail, at most 1.

use serde::{Deserialize, Serialize};

/// Up to this number of differences the distribution is counted.
const EXACT: usize = 50;

/// Result of the test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wilcoxon {
    /// Differences that are not zero.
    pub count: usize,
    /// Sum of the ranks of the positive differences, W+.
    pub rank_sum: f64,
    /// Two-sided probability of a W+ at least as far from its mean.
    pub p: f64,
    /// Whether p is counted, not approximated.
    pub exact: bool,
}

impl Wilcoxon {
    /// Matched-pairs rank-biserial correlation (Kerby 2014, Compr Psychol 3:1): (W+ - W-) / (W+ + W-), the part of the ranks that is
    /// in favour minus the part against, -1 to 1.
    pub fn rank_biserial(&self) -> f64 {
        let all = (self.count * (self.count + 1)) as f64 / 2.0;
        2.0 * self.rank_sum / all - 1.0
    }

    /// Tests finite differences; `None` if all are zero.
    pub fn of(differences: &[f64]) -> Option<Wilcoxon> {
        let mut sorted: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
        sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        if sorted.is_empty() {
            return None;
        }
        let groups: Vec<&[f64]> = sorted.chunk_by(|a, b| a.abs() == b.abs()).collect();
        // Twice the ranks: mean ranks of ties are halves at most.
        let mut doubled: Vec<usize> = Vec::with_capacity(sorted.len());
        for group in &groups {
            let (first, last) = (doubled.len() + 1, doubled.len() + group.len());
            doubled.resize(last, first + last);
        }
        let sum: usize = sorted.iter().zip(&doubled).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
        let exact = sorted.len() <= EXACT;
        let p = if exact { counted(&doubled, sum) } else { approximated(&groups, sum as f64 / 2.0) };
        Some(Wilcoxon { count: sorted.len(), rank_sum: sum as f64 / 2.0, p, exact })
    }
}

/// Twice the smaller of P(W+ <= sum) and P(W+ >= sum), both of doubled ranks.
fn counted(doubled: &[usize], sum: usize) -> f64 {
    // probability[s]: of the sum s, after some of the ranks.
    let mut probability = vec![0.0; doubled.iter().sum::<usize>() + 1];
    probability[0] = 1.0;
    let mut reached = 0;
    for &rank in doubled {
        reached += rank;
        for s in (0..=reached).rev() {
            let with = if s >= rank { probability[s - rank] } else { 0.0 };
            probability[s] = 0.5 * (probability[s] + with);
        }
    }
    let (below, above): (f64, f64) = (probability[..=sum].iter().sum(), probability[sum..].iter().sum());
    (2.0 * below.min(above)).min(1.0)
}

fn approximated(groups: &[&[f64]], rank_sum: f64) -> f64 {
    let n = groups.iter().map(|group| group.len()).sum::<usize>() as f64;
    let ties: f64 = groups.iter().map(|group| group.len() as f64).map(|t| t.powi(3) - t).sum();
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    let z = (rank_sum - n * (n + 1.0) / 4.0) / variance.sqrt();
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}
