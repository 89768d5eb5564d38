//! What the predictions of cases that a network has not seen say about mirroring and repairs.
//!
//! Changes are tried on top of what was accepted before, all cases together, and accepted by one rule ([`RULE`]), as nnU-Net's
//! `determine_postprocessing` does; sizes, holes and the price of mirroring are added to it. Every trial and its numbers are kept.

use super::CrossValidation;
use super::rule::{Dice, MIRRORING_GAIN, RULE, Trial, best, best_of_each, class_means, judge, mean};
use crate::data::io::read_label_map;
use crate::data::{Case, Decision, LabelMap, Preparation, Target, check_image, read_case_label};
use crate::infer::{PostProcessing, Repair, Size};
use crate::metrics::Overlap;
use crate::train::TrainError;
use rayon::prelude::*;
use serde::Serialize;

/// Smallest sizes that are tried, as shares of the median volume of the class in the references.
const SHARES: [f64; 5] = [0.001, 0.003, 0.01, 0.03, 0.1];

/// What was chosen, by what rule, on which numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choices {
    /// The rule in words.
    pub rule: &'static str,
    /// Number of cases.
    pub cases: usize,
    /// Names of the foreground classes or regions, in the order of the lists of Dice.
    pub targets: Vec<String>,
    /// Gain in mean foreground Dice that mirroring must exceed.
    pub mirroring_gain: f64,
    /// Mirroring.
    pub mirroring: Trial,
    /// Repairs, in the order of the trials.
    pub repairs: Vec<Trial>,
    /// What was chosen.
    pub chosen: Chosen,
    /// Mean foreground Dice of each fold as chosen.
    pub fold_dice: Vec<Option<f64>>,
}

/// How predictions are made and repaired.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Chosen {
    /// Whether windows are averaged over their mirror images.
    pub mirroring: bool,
    /// [`PostProcessing::largest_foreground`].
    pub largest_foreground: bool,
    /// Repairs of each class or region.
    pub repairs: Vec<Repair>,
}

impl Chosen {
    /// The repairs.
    pub fn post_processing(&self) -> PostProcessing {
        PostProcessing { largest_foreground: self.largest_foreground, repairs: self.repairs.clone() }
    }

    /// In words, for classes or regions of these names.
    pub fn describe(&self, targets: &[String]) -> String {
        let mut words = Vec::new();
        words.extend(self.mirroring.then(|| "mirror images are averaged".to_owned()));
        words.extend(self.largest_foreground.then(|| "the largest component of the foreground is kept".to_owned()));
        for (name, repair) in targets.iter().zip(&self.repairs) {
            words.extend(repair.largest_component.then(|| format!("{name}: the largest component is kept")));
            words.extend(repair.smallest.map(|size| format!("{name}: components below {size} are removed")));
            words.extend(repair.fill_holes.then(|| format!("{name}: holes are filled")));
        }
        if words.is_empty() { "predictions stay as they are".to_owned() } else { words.join("; ") }
    }
}

/// The cases and what is known of them.
struct Chooser<'a> {
    cross: &'a CrossValidation,
    /// With their folds.
    cases: &'a [(usize, Case)],
    preparation: &'a Preparation,
    decision: Decision,
    targets: Vec<Target>,
}

/// A change to try.
struct Candidate {
    change: String,
    /// The class or region that it is for; `None` for all.
    target: Option<usize>,
    chosen: Chosen,
}

/// Chooses on the predictions of all cases, which are of these folds.
pub(super) fn choose(
    cross: &CrossValidation,
    cases: &[(usize, Case)],
    preparation: &Preparation,
) -> Result<Choices, TrainError> {
    let (decision, targets) = (preparation.decision(), preparation.targets());
    let chooser = Chooser { cross, cases, preparation, decision, targets };
    let names: Vec<String> = chooser.targets.iter().map(|target| target.name.clone()).collect();
    let nothing = Chosen { repairs: vec![Repair::default(); names.len()], ..Chosen::default() };
    let mirrored = Chosen { mirroring: true, ..nothing.clone() };
    let mut scores = chooser.scores(&[nothing.clone(), mirrored.clone()])?;
    let (with, without) = (scores.swap_remove(1), scores.swap_remove(0));
    let mirroring = judge("averages over eight mirror images".to_owned(), &names, [&without, &with], MIRRORING_GAIN);
    let (mut chosen, mut base) = if mirroring.accepted { (mirrored, with) } else { (nothing, without) };
    let mut repairs = Vec::new();
    for round in [foreground, components, sizes, holes] {
        let candidates = round(&chooser, &names, &chosen)?;
        repairs.extend(chooser.round(&names, candidates, &mut chosen, &mut base)?);
    }
    let of_fold = |fold: usize| {
        let own = cases.iter().zip(&base).filter(|((of, _), _)| *of == fold).map(|(_, dice)| dice.clone());
        mean(class_means(&own.collect::<Dice>(), names.len()).into_iter().flatten())
    };
    let fold_dice = (0..cross.folds()).map(of_fold).collect();
    let (cases, mirroring_gain) = (cases.len(), MIRRORING_GAIN);
    Ok(Choices { rule: RULE, cases, targets: names, mirroring_gain, mirroring, repairs, chosen, fold_dice })
}

fn foreground(_: &Chooser<'_>, names: &[String], chosen: &Chosen) -> Result<Vec<Candidate>, TrainError> {
    let change = "largest component of the whole foreground".to_owned();
    let all = Candidate { change, target: None, chosen: Chosen { largest_foreground: true, ..chosen.clone() } };
    // Of one class it is the largest component of the class.
    Ok(if names.len() > 1 { vec![all] } else { Vec::new() })
}

/// A candidate for one class or region.
fn of_target(target: usize, change: String, chosen: &Chosen, repair: impl FnOnce(&mut Repair)) -> Candidate {
    let mut chosen = chosen.clone();
    repair(&mut chosen.repairs[target]);
    Candidate { change, target: Some(target), chosen }
}

fn components(_: &Chooser<'_>, names: &[String], chosen: &Chosen) -> Result<Vec<Candidate>, TrainError> {
    let of = |(target, name): (usize, &String)| {
        of_target(target, format!("largest component of {name}"), chosen, |repair| repair.largest_component = true)
    };
    Ok(names.iter().enumerate().map(of).collect())
}

fn sizes(chooser: &Chooser<'_>, names: &[String], chosen: &Chosen) -> Result<Vec<Candidate>, TrainError> {
    let open: Vec<usize> = (0..names.len()).filter(|&target| !chosen.repairs[target].largest_component).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let volumes = chooser.median_volumes()?;
    let mut candidates = Vec::new();
    for target in open {
        let Some(volume) = volumes[target] else { continue };
        for share in SHARES {
            let size = Size::Mm3(two_digits(volume * share));
            let change = format!("components of {} below {size} removed", names[target]);
            candidates.push(of_target(target, change, chosen, |repair| repair.smallest = Some(size)));
        }
    }
    Ok(candidates)
}

fn holes(_: &Chooser<'_>, names: &[String], chosen: &Chosen) -> Result<Vec<Candidate>, TrainError> {
    let of = |(target, name): (usize, &String)| {
        of_target(target, format!("holes of {name} filled"), chosen, |repair| repair.fill_holes = true)
    };
    Ok(names.iter().enumerate().map(of).collect())
}

/// Rounds to two significant digits, the same on every machine.
fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().expect("a number that was printed")
}

impl Chooser<'_> {
    /// Tries candidates, each by itself, takes those that pass, and returns all trials.
    fn round(
        &self,
        names: &[String],
        candidates: Vec<Candidate>,
        chosen: &mut Chosen,
        base: &mut Dice,
    ) -> Result<Vec<Trial>, TrainError> {
        let tried: Vec<Chosen> = candidates.iter().map(|candidate| candidate.chosen.clone()).collect();
        let mut scores = self.scores(&tried)?;
        let judged = candidates.iter().zip(&scores);
        let mut trials: Vec<Trial> =
            judged.map(|(candidate, dice)| judge(candidate.change.clone(), names, [base, dice], 0.0)).collect();
        let targets: Vec<Option<usize>> = candidates.iter().map(|candidate| candidate.target).collect();
        let kept = best_of_each(&mut trials, &targets);
        let mut together = chosen.clone();
        for &number in &kept {
            let of = &candidates[number];
            match of.target {
                Some(target) => together.repairs[target] = of.chosen.repairs[target],
                None => together.largest_foreground = of.chosen.largest_foreground,
            }
        }
        match kept[..] {
            [] => {}
            [only] => (*chosen, *base) = (together, scores.swap_remove(only)),
            _ => {
                let dice = self.scores(std::slice::from_ref(&together))?.remove(0);
                let joined = judge("these together".to_owned(), names, [base, &dice], 0.0);
                if joined.accepted {
                    (*chosen, *base) = (together, dice);
                } else {
                    let best = best(&trials, kept.iter().copied()).expect("there are several");
                    for &number in kept.iter().filter(|number| **number != best) {
                        trials[number].accepted = false;
                        trials[number].reason = "does not pass together with the others of this round".to_owned();
                    }
                    (*chosen, *base) = (candidates[best].chosen.clone(), scores.swap_remove(best));
                }
                trials.push(joined);
            }
        }
        Ok(trials)
    }

    /// Dice of every case with each of these choices. One case is in memory at a time, with a copy of its labels per thread.
    fn scores(&self, choices: &[Chosen]) -> Result<Vec<Dice>, TrainError> {
        let mut scores = vec![Dice::new(); choices.len()];
        if choices.is_empty() {
            return Ok(scores);
        }
        for (fold, case) in self.cases {
            let header = check_image(&case.image, self.preparation)?;
            let reference = read_case_label(case, &header, self.preparation)?;
            let read = |mirrored| -> Result<Option<LabelMap>, TrainError> {
                if choices.iter().all(|choice| choice.mirroring != mirrored) {
                    return Ok(None);
                }
                let path = self.cross.unrepaired(*fold, case, mirrored);
                let mut map = read_label_map(&path)?;
                self.preparation.to_classes(&path, &mut map)?;
                Ok(Some(map))
            };
            let maps = [read(false)?, read(true)?];
            let of_one = |choice: &Chosen| {
                let mut map = maps[usize::from(choice.mirroring)].clone().expect("read above");
                choice.post_processing().apply_to(&self.targets, &self.decision, &mut map);
                self.dice(&map, &reference)
            };
            let found: Vec<Vec<Option<f64>>> = choices.par_iter().map(of_one).collect::<Result<_, _>>()?;
            scores.iter_mut().zip(found).for_each(|(scores, dice)| scores.push(dice));
        }
        Ok(scores)
    }

    /// Dice of each foreground class or region of the voxels that are not ignored.
    fn dice(&self, map: &LabelMap, reference: &LabelMap) -> Result<Vec<Option<f64>>, TrainError> {
        let (map, reference) = (&map.voxels, &reference.voxels);
        if let Decision::Largest(classes) = &self.decision {
            return Ok(Overlap::of_classes(map, reference, *classes)?.iter().skip(1).map(Overlap::dice).collect());
        }
        let of = |target: &Target| Ok(Overlap::count_where(map, reference, |class| target.contains(class))?.dice());
        self.targets.iter().map(of).collect()
    }

    /// The median volume of each class or region in the references that have it, in mm³.
    fn median_volumes(&self) -> Result<Vec<Option<f64>>, TrainError> {
        let mut volumes = vec![Vec::new(); self.targets.len()];
        for (_, case) in self.cases {
            let header = check_image(&case.image, self.preparation)?;
            let reference = read_case_label(case, &header, self.preparation)?;
            let voxel: f64 = reference.grid.spacing.iter().product();
            for (target, volumes) in self.targets.iter().zip(&mut volumes) {
                let voxels = reference.voxels.iter().filter(|class| target.contains(**class)).count();
                volumes.extend((voxels > 0).then_some(voxels as f64 * voxel));
            }
        }
        // The upper one of an even number.
        let median = |mut volumes: Vec<f64>| {
            volumes.sort_by(f64::total_cmp);
            volumes.get(volumes.len() / 2).copied()
        };
        Ok(volumes.into_iter().map(median).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_that_a_person_can_type() {
        assert_eq!([12345.6, 0.0999, 5.0].map(two_digits), [12000.0, 0.1, 5.0]);
    }
}
