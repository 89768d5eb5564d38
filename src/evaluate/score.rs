//! Scores of many pairs of label maps, of which few are in memory at once.

use super::pairs::Declared;
use super::{EvaluateError, upright};
use crate::data::alignment::labels_on;
use crate::data::io::input::Input;
use crate::data::io::{Header, read_header, read_labels};
use crate::data::{Classes, DataError, ImageFiles, LabelMap, Placed, Target, Warnings};
use crate::metrics::{
    Calibration, CalibrationCounts, CaseScores, Confusion, Criteria, Evaluation, LabelPair, MetricError, PairCounts,
    Region, score_values,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Pairs that are read and scored at the same time, at most: each takes memory for two label maps and the distances of
/// their surfaces.
const IN_FLIGHT: usize = 4;

/// What is scored.
#[derive(Debug, Clone, Copy)]
pub struct Scoring<'a> {
    /// The classes: another value in a label or a prediction is an error, and values of one class are scored as one.
    /// `None`: all values that occur.
    pub classes: Option<&'a Classes>,
    /// Label values of voxels that take no part in the scores, besides those of the classes: in the label; a prediction has
    /// background there.
    pub ignore: &'a [u16],
    /// The parts of the organ.
    pub regions: &'a [Region],
    /// Whether labels without a prediction are left out; otherwise they are an error.
    pub partial: bool,
    /// Tolerances of surface Dice, and when a lesion is found.
    pub criteria: &'a Criteria,
    /// Folder of the probabilities that `segment --probabilities` has written, for calibration.
    pub probabilities: Option<&'a Path>,
}

impl Scoring<'_> {
    /// All values that occur, as whole organs, of every label.
    pub const WHOLE: Scoring<'static> = Scoring {
        classes: None,
        ignore: &[],
        regions: &[Region::Whole],
        partial: false,
        criteria: &Criteria::DEFAULT,
        probabilities: None,
    };
}

/// The files of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFiles {
    /// Name of the case.
    pub case: String,
    /// Predicted labels.
    pub prediction: PathBuf,
    /// Reference labels.
    pub label: PathBuf,
    /// Image; needed for pictures only.
    pub image: Option<ImageFiles>,
}

/// Scores pairs; see [`super::evaluate_folders`].
///
/// # Errors
/// [`EvaluateError`] that names the file; all broken files.
pub fn evaluate_pairs(pairs: &[CaseFiles], scoring: &Scoring<'_>) -> Result<Evaluation, EvaluateError> {
    Declared::by(scoring).evaluate(pairs)
}

/// What is found in a case.
#[derive(Default)]
struct Scored {
    scores: Vec<CaseScores>,
    /// Voxels by class of label and prediction.
    pairs: PairCounts,
    calibration: Option<CalibrationCounts>,
    /// What is odd about its files.
    warnings: Warnings,
}

/// Label and prediction of a pair in the order of the voxels of the label.
pub(super) struct Maps {
    pub(super) label: LabelMap,
    prediction: LabelMap,
    /// Header of the label.
    pub(super) header: Header,
    /// Which voxels of the label are ignored; empty where no value is.
    pub(super) ignored: Vec<bool>,
}

impl Declared<'_> {
    /// Scores pairs with these classes.
    pub(super) fn evaluate(&self, pairs: &[CaseFiles]) -> Result<Evaluation, EvaluateError> {
        // After a broken file the others are only read, to find all broken ones, and no longer scored.
        let broken = AtomicBool::new(false);
        let scored = in_order(pairs.len(), IN_FLIGHT, |pair| {
            let scored = self.score(&pairs[pair], &broken);
            broken.fetch_or(scored.is_err(), Ordering::Relaxed);
            scored
        });
        let mut cases = Vec::new();
        let mut problems = Vec::new();
        for found in scored {
            match found {
                Ok(found) => cases.push(found),
                Err(found) => problems.extend(found),
            }
        }
        EvaluateError::one_or_many(problems)?;
        self.summarised(pairs, cases)
    }

    /// The statistics of all cases.
    fn summarised(&self, pairs: &[CaseFiles], found: Vec<Scored>) -> Result<Evaluation, EvaluateError> {
        let mut warnings = Warnings::default();
        let (mut cases, mut counts, mut calibration) = (Vec::new(), Vec::new(), Vec::new());
        for (pair, of_case) in pairs.iter().zip(found) {
            cases.push(of_case.scores);
            counts.push(of_case.pairs);
            calibration.extend(of_case.calibration.map(|counts| (pair.case.clone(), counts)));
            warnings.append(of_case.warnings);
        }
        let mut evaluation = Evaluation::new(self.with_absent(pairs, cases));
        evaluation.criteria = self.scoring.criteria.clone();
        if let Some(name) = evaluation.criteria.stranger(&evaluation.classes()) {
            let classes = evaluation.classes().into_iter().map(|(_, name)| name).collect();
            return Err(EvaluateError::Tolerance { name: name.to_owned(), classes });
        }
        if self.regions().is_empty() {
            let name = |value| if value == self.background() { "background".to_owned() } else { self.name(value) };
            evaluation.confusion = Some(Confusion::of(&counts, name));
        }
        if !calibration.is_empty() {
            let classes = self.calibrated(calibration[0].1.count(), &evaluation.classes());
            evaluation.calibration = Some(Calibration::of(calibration, &classes));
        }
        evaluation.warnings = warnings.notices().iter().map(ToString::to_string).collect();
        Ok(evaluation)
    }

    /// The records of one pair, of the values that occur in it or are declared, or all that is wrong with its files.
    fn score(&self, pair: &CaseFiles, broken: &AtomicBool) -> Result<Scored, Vec<EvaluateError>> {
        let mut found = Scored::default();
        let maps = self.maps(pair, &mut found.warnings)?;
        if broken.load(Ordering::Relaxed) {
            return Ok(found);
        }
        if let Some(folder) = self.scoring.probabilities {
            let counted = self.calibration(folder, pair, &maps).map_err(|error| vec![error])?;
            found.calibration = Some(counted);
        }
        let Maps { label, prediction, ignored, .. } = maps;
        let unscored = ignored.iter().filter(|ignored| **ignored).count() as u64;
        // Regions are thirds along z, which must rise to the head.
        let (_, prediction) = upright(&label.grid, prediction.voxels);
        let (grid, reference) = upright(&label.grid, label.voxels);
        let pair_of_maps =
            LabelPair { prediction: &prediction, reference: &reference, extents: grid.extents, spacing: grid.spacing };
        let (regions, criteria) = (self.regions(), self.scoring.criteria);
        let scores = match regions.is_empty() {
            true => {
                found.pairs = Confusion::count(&reference, &prediction);
                // Both maps have background where voxels are ignored.
                let background = self.background();
                found.pairs.entry((background, background)).and_modify(|count| *count -= unscored);

                let values = self.values_of([&prediction, &reference]).into_iter();
                let classes: Vec<(u16, String)> = values.map(|value| (value, self.name(value))).collect();
                score_values(&pair.case, &pair_of_maps, &classes, self.scoring.regions, criteria)
            }
            false => self.score_regions(&pair.case, &pair_of_maps, &regions),
        };
        found.scores = scores.map_err(|source| vec![EvaluateError::Metric { case: pair.case.clone(), source }])?;
        Ok(found)
    }

    /// Label and prediction of a pair, in the order of the voxels of the label, or all that is wrong with the files.
    fn maps(&self, pair: &CaseFiles, warnings: &mut Warnings) -> Result<Maps, Vec<EvaluateError>> {
        let label = self.read(&pair.label, None, warnings);
        let on = label.as_ref().ok().map(|(_, header, _)| Placed { path: &pair.label, header });
        let prediction = self.read(&pair.prediction, on, warnings);
        match (label, prediction) {
            (Ok((label, header, ignored)), Ok((mut prediction, ..))) => {
                // What is predicted where the label says nothing is neither right nor wrong, and no part of a surface.
                let background = self.background();
                let unscored = prediction.voxels.iter_mut().zip(&ignored).filter(|(_, ignored)| **ignored);
                unscored.for_each(|(value, _)| *value = background);
                Ok(Maps { label, prediction, header, ignored })
            }
            (label, prediction) => {
                Err([label.err(), prediction.err()].into_iter().flatten().map(EvaluateError::from).collect())
            }
        }
    }

    /// The records of regions: each is scored as if it were the only class.
    fn score_regions(
        &self,
        case: &str,
        pair: &LabelPair<'_>,
        regions: &[Target],
    ) -> Result<Vec<CaseScores>, MetricError> {
        let classes = self.classes().expect("regions are those of classes");
        let mut scores = Vec::new();
        for region in regions {
            let inside = self.table(|value| classes.class_of(value).is_some_and(|class| region.contains(class)));
            let alone = |map: &[u16]| -> Vec<u16> { map.iter().map(|&v| u16::from(inside[usize::from(v)])).collect() };
            let (prediction, reference) = (alone(pair.prediction), alone(pair.reference));
            let pair = LabelPair { prediction: &prediction, reference: &reference, ..*pair };
            // Within the pair the region is class 1; a tolerance may be given by its own value.
            let criteria = self.scoring.criteria;
            let tolerance_mm = criteria.tolerance_of(region.value, &region.name);
            let criteria = Criteria { tolerance_mm, tolerances_mm: BTreeMap::new(), ..criteria.clone() };
            let (class, parts) = ([(1, region.name.clone())], self.scoring.regions);
            let of_one = score_values(case, &pair, &class, parts, &criteria)?;
            scores.extend(of_one.into_iter().map(|scores| CaseScores { class: region.value, ..scores }));
        }
        Ok(scores)
    }

    /// Reads a label map, in the order of the voxels of another file if one is given, its header, and which of its voxels are
    /// ignored; no list where no value is.
    fn read(
        &self,
        path: &Path,
        on: Option<Placed<'_>>,
        warnings: &mut Warnings,
    ) -> Result<(LabelMap, Header, Vec<bool>), DataError> {
        let header = read_header(path)?;
        warnings.extend(path, header.warnings.iter().cloned());
        let mut map = match on {
            Some(on) => labels_on(Placed { path, header: &header }, on)?,
            None => read_labels(Input::file(path), &header)?,
        };
        let is_ignored = self.table(|value| self.is_ignored(value));
        let ignored = match is_ignored.contains(&true) {
            true => map.voxels.iter().map(|value| is_ignored[usize::from(*value)]).collect(),
            false => Vec::new(),
        };
        self.merge(path, &mut map)?;
        Ok((map, header, ignored))
    }

    /// The values to score in a pair.
    fn values_of(&self, maps: [&[u16]; 2]) -> BTreeSet<u16> {
        let mut occurs = vec![false; usize::from(u16::MAX) + 1];
        maps.into_iter().flatten().for_each(|&value| occurs[usize::from(value)] = true);
        let mut values: BTreeSet<u16> = (0..=u16::MAX).filter(|&value| occurs[usize::from(value)]).collect();
        values.extend(self.values());
        values.remove(&self.background());
        values
    }

    /// Every case with a record of every value that occurs in any case; a value that a case lacks is absent from both
    /// of its maps. If no value occurs at all, there are records of class 1.
    fn with_absent(&self, pairs: &[CaseFiles], cases: Vec<Vec<CaseScores>>) -> Vec<CaseScores> {
        let mut values: BTreeSet<u16> = cases.iter().flatten().map(|scores| scores.class).collect();
        if values.is_empty() {
            values.insert(1);
        }
        let mut all = Vec::new();
        for (pair, scores) in pairs.iter().zip(cases) {
            let mut scores = scores.into_iter().peekable();
            for &value in &values {
                if scores.peek().is_some_and(|next| next.class == value) {
                    all.extend(std::iter::from_fn(|| scores.next_if(|next| next.class == value)));
                } else {
                    let absent = |region: &Region| CaseScores::absent(&pair.case, (value, &self.name(value)), *region);
                    all.extend(self.scoring.regions.iter().map(absent));
                }
            }
        }
        all
    }
}

/// The results of `work` on 0 to `count` - 1, in this order, computed by at most `most` threads. Not by rayon, whose threads
/// take a second item while they wait for parts of the first.
fn in_order<T: Send>(count: usize, most: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(most).min(count);
    let next = AtomicUsize::new(0);
    let worker = || -> Vec<(usize, T)> {
        let items = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|item| *item < count);
        items.map(|item| (item, work(item))).collect()
    };
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no pair panics")).collect()
    });
    results.sort_by_key(|(item, _)| *item);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_few_items_are_worked_on_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results = in_order(40, 3, |item| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis((item % 3) as u64));
            now.fetch_sub(1, Ordering::SeqCst);
            item * item
        });
        assert_eq!(results, (0..40).map(|item| item * item).collect::<Vec<_>>());
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        assert!(in_order(0, 3, |item| item).is_empty());
    }
}
