//! By how much the members of an ensemble disagree: the mutual information of voxel and member,
//!
//! ```text
//! I = H( mean over members of p_m ) - mean over members of H( p_m )
//! ```
//!
//! in nats (Depeweg et al. 2018, ICML, 1184; Smith and Gal 2018, UAI). It is 0 where all members say the same, sure or not, and at most
//! the logarithm of their number. It is taken in each window and averaged over windows like probabilities, so that what
//! windows disagree about is no part of it.

use super::MemberWindow;
use crate::data::Decision;

/// Sums over the members that have seen a window.
pub(super) struct Disagreement {
    decision: Decision,
    /// Probabilities, of each voxel and class.
    sum: Vec<f64>,
    /// Entropies, of each voxel.
    entropy: Vec<f64>,
}

impl Disagreement {
    /// For probabilities that are decided so.
    pub(super) fn new(decision: Decision) -> Self {
        Self { decision, sum: Vec::new(), entropy: Vec::new() }
    }

    /// Takes a member in, in their order; with the last one, `found` gets the disagreement of each voxel of the window.
    pub(super) fn see(&mut self, window: &MemberWindow<'_>, found: &mut [f32]) {
        let MemberWindow { member, members, probabilities, classes } = *window;
        if member == 0 {
            self.sum = vec![0.0; probabilities.len()];
            self.entropy = vec![0.0; probabilities.len() / classes];
        }
        self.sum.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += f64::from(*p));
        let of_voxels =
            probabilities.chunks_exact(classes).map(|p| p.iter().map(|p| f64::from(*p)).collect::<Vec<f64>>());
        self.entropy.iter_mut().zip(of_voxels).for_each(|(sum, p)| *sum += entropy(&self.decision, &p));
        if member + 1 < members {
            return;
        }
        let count = members as f64;
        for ((found, sum), own) in found.iter_mut().zip(self.sum.chunks_exact(classes)).zip(&self.entropy) {
            let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
            *found = (entropy(&self.decision, &mean) - own / count).max(0.0) as f32;
        }
    }
}

fn entropy(decision: &Decision, voxel: &[f64]) -> f64 {
    voxel.iter().map(|p| decision.entropy(*p)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disagreement(decision: Decision, members: &[&[f32]], classes: usize) -> Vec<f32> {
        let mut found = vec![0.0; members[0].len() / classes];
        let mut seen = Disagreement::new(decision);
        for (member, probabilities) in members.iter().enumerate() {
            let window = MemberWindow { member, members: members.len(), probabilities, classes };
            seen.see(&window, &mut found);
        }
        found
    }

    #[test]
    fn members_that_agree_have_none_and_opposites_have_a_logarithm() {
        // Three voxels: both unsure, both sure of different classes, one sure and one not.
        let (first, second) = ([0.25, 0.75, 1.0, 0.0, 1.0, 0.0], [0.25, 0.75, 0.0, 1.0, 0.5, 0.5]);
        let found = disagreement(Decision::Largest(2), &[&first, &second], 2);
        let two = std::f64::consts::LN_2;
        let third = 2.0 * two - 0.75 * 3f64.ln() - 0.5 * two;
        // Rounded once to float32.
        for (found, expected) in found.iter().zip([0.0, two, third]) {
            assert!((f64::from(*found) - expected).abs() <= f64::from(f32::EPSILON), "{found} {expected}");
        }
        // A region is a decision of its own: 1 and 0 are a logarithm apart.
        let regions = disagreement(Decision::Painted(vec![1, 2]), &[&[1.0, 0.5], &[0.0, 0.5]], 2);
        assert!((f64::from(regions[0]) - two).abs() <= f64::from(f32::EPSILON));
    }
}
