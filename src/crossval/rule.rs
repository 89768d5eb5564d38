//! The rule by which a change of mirroring or repairs is accepted, and what is kept of every trial.

use serde::Serialize;

/// Mirroring takes eight times as long, so mean foreground Dice must rise by more than this.
pub const MIRRORING_GAIN: f64 = 0.002;

/// The rule in words.
pub(super) const RULE: &str = "On the predictions of every case by the network that was trained without it: a change is accepted if mean \
foreground Dice rises and the mean Dice of no class or region falls (means over the cases in which it is defined; the foreground \
mean is that of the classes). First mirroring, which must gain more than mirroring_gain; then, each on top of what was accepted: \
the largest component of the whole foreground; the largest component of each class; where that was not accepted, a smallest size \
of components of each class (0.1, 0.3, 1, 3 and 10 % of the median volume of its references; the best that is accepted); the \
holes of each class. Changes of one round are tried singly and kept together if they pass together, else only the best. \
Components are connected over 26 neighbours, background of holes over 6.";

/// Dice of every target of every case.
pub(super) type Dice = Vec<Vec<Option<f64>>>;

/// A change that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// The change in words.
    pub change: String,
    /// Mean foreground Dice without it and with it.
    pub mean_dice: [Option<f64>; 2],
    /// Mean Dice of every class or region without it.
    pub dice_before: Vec<Option<f64>>,
    /// The same with it.
    pub dice_after: Vec<Option<f64>>,
    /// Whether it was accepted.
    pub accepted: bool,
    /// Why, in words.
    pub reason: String,
}

/// Of the trials that pass, the best for each target, in ascending order; the others are marked.
pub(super) fn best_of_each(trials: &mut [Trial], targets: &[Option<usize>]) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for number in 0..trials.len() {
        let same = (0..trials.len()).filter(|&other| targets[other] == targets[number] && trials[other].accepted);
        if trials[number].accepted && best(trials, same) == Some(number) {
            kept.push(number);
        }
    }
    for number in (0..trials.len()).filter(|number| !kept.contains(number)) {
        if trials[number].accepted {
            trials[number].accepted = false;
            trials[number].reason = "another of its kind is better".to_owned();
        }
    }
    kept
}

/// The trial with the highest mean; of equal ones the first.
pub(super) fn best(trials: &[Trial], among: impl Iterator<Item = usize>) -> Option<usize> {
    let after = |number: usize| trials[number].mean_dice[1].unwrap_or(f64::NEG_INFINITY);
    among.reduce(|best, next| if after(next) > after(best) { next } else { best })
}

/// Judges a change by the Dice of all cases without and with it.
pub(super) fn judge(change: String, names: &[String], [before, after]: [&Dice; 2], gain: f64) -> Trial {
    let [dice_before, dice_after] = [before, after].map(|dice| class_means(dice, names.len()));
    let mean_dice = [&dice_before, &dice_after].map(|dice| mean(dice.iter().flatten().copied()));
    let falls = |(before, after): (&Option<f64>, &Option<f64>)| matches!((before, after), (Some(b), Some(a)) if a < b);
    let worse = dice_before.iter().zip(&dice_after).position(falls);
    let rises = matches!(mean_dice, [Some(before), Some(after)] if after - before > gain);
    let reason = match (worse, rises) {
        (Some(target), _) => format!("Dice of {} falls", names[target]),
        (None, false) if gain > 0.0 => format!("mean Dice does not rise by more than {gain}"),
        (None, false) => "mean Dice does not rise".to_owned(),
        (None, true) => "mean Dice rises and no other falls".to_owned(),
    };
    Trial { change, mean_dice, dice_before, dice_after, accepted: worse.is_none() && rises, reason }
}

/// Mean Dice of each class or region over the cases in which it is defined.
pub(super) fn class_means(dice: &Dice, targets: usize) -> Vec<Option<f64>> {
    (0..targets).map(|target| mean(dice.iter().filter_map(|case| case[target]))).collect()
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(cases: &[[Option<f64>; 2]]) -> Dice {
        cases.iter().map(|case| case.to_vec()).collect()
    }

    #[test]
    fn a_change_must_raise_the_mean_and_lower_no_class() {
        let names = ["a".to_owned(), "b".to_owned()];
        let judged = |after: &[[Option<f64>; 2]], gain| {
            let before = dice(&[[Some(0.5), Some(0.75)], [Some(0.25), None]]);
            let trial = judge("x".to_owned(), &names, [&before, &dice(after)], gain);
            (trial.accepted, trial.reason)
        };
        let better = [[Some(0.75), Some(0.75)], [Some(0.25), None]];
        assert!(judged(&better, 0.0).0);
        // The mean of the means rises by 1/16, exactly.
        assert!(judged(&better, 0.0624).0 && !judged(&better, 0.0625).0);
        let same = judged(&[[Some(0.5), Some(0.75)], [Some(0.25), None]], 0.0);
        assert_eq!(same, (false, "mean Dice does not rise".to_owned()));
        let at_the_cost = judged(&[[Some(1.0), Some(0.7)], [Some(0.25), None]], 0.0);
        assert_eq!(at_the_cost, (false, "Dice of b falls".to_owned()));
        // A class of which nothing is predicted any more where it is not: undefined, and no fall.
        assert!(judged(&[[Some(0.75), None], [Some(0.5), None]], -1.0).0);
    }

    #[test]
    fn of_several_sizes_the_best_is_kept() {
        let trial = |accepted, after| Trial {
            change: String::new(),
            mean_dice: [Some(0.5), Some(after)],
            dice_before: Vec::new(),
            dice_after: Vec::new(),
            accepted,
            reason: String::new(),
        };
        let mut trials =
            vec![trial(true, 0.6), trial(true, 0.7), trial(false, 0.9), trial(true, 0.7), trial(true, 0.55)];
        let kept = best_of_each(&mut trials, &[Some(0), Some(0), Some(0), Some(0), Some(1)]);
        assert_eq!(kept, [1, 4]);
        let accepted: Vec<bool> = trials.iter().map(|trial| trial.accepted).collect();
        assert_eq!(accepted, [false, true, false, false, true]);
    }
}
