use super::TrainError;
use crate::data::{
    CacheBudget, Case, Decision, DiskCache, Fit, Preparation, Prepared, PreparedCases, Restoration, Target, Use,
};
use crate::infer::Predictor;
use crate::metrics::Overlap;
use std::ops::ControlFlow;

/// Dice of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseDice {
    /// Name of the case.
    pub case: String,
    /// Dice of each foreground class or region on the grid of the file, of the voxels that are not ignored; `None` where
    /// prediction and reference are both empty.
    pub dice: Vec<Option<f64>>,
    /// Whether the whole prediction is one class.
    pub constant: bool,
}

/// The validation cases. Those within a budget of memory are kept, the others are read for each validation.
#[derive(Debug)]
pub struct Validation {
    cases: PreparedCases,
}

/// A validation case that has been predicted.
#[derive(Debug)]
pub struct Predicted<'a> {
    /// Its number, counted from 0.
    pub number: usize,
    /// Its Dice.
    pub score: &'a CaseDice,
    /// The case as the network sees it.
    pub prepared: &'a Prepared,
    /// The predicted labels of the same voxels.
    pub labels: &'a [u16],
}

impl Validation {
    /// Validation on cases. They are read when they are first predicted.
    pub fn new(cases: &[Case], preparation: &Preparation, budget: &CacheBudget) -> Self {
        Self::with_disk(cases, preparation, budget, &DiskCache::none())
    }

    /// As [`Validation::new`]; cases beyond the budget are kept on disk.
    pub fn with_disk(cases: &[Case], preparation: &Preparation, budget: &CacheBudget, disk: &DiskCache) -> Self {
        let (cases, preparation) = (cases.to_vec(), preparation.clone());
        let needs = Use::Validation;
        Self { cases: PreparedCases::new(cases, preparation, Fit::Whole, needs, budget.clone(), disk.clone()) }
    }

    /// Whether there is nothing to validate on.
    pub fn is_empty(&self) -> bool {
        self.cases.cases().is_empty()
    }

    /// Predicts every case and passes it to `seen`. `go_on` is called after every window and may end the validation.
    ///
    /// # Errors
    /// [`TrainError::Data`] that names the file of a case, [`TrainError`] when the device failed, or that of `go_on`.
    pub fn run(
        &self,
        predictor: &Predictor,
        go_on: impl Fn() -> Result<(), TrainError>,
        mut seen: impl FnMut(&Predicted<'_>),
    ) -> Result<Vec<CaseDice>, TrainError> {
        let mut scores = Vec::new();
        let preparation = self.cases.preparation();
        let (decision, targets) = (preparation.decision(), preparation.targets());
        for (number, Case { name, .. }) in self.cases.cases().iter().enumerate() {
            let case = self.cases.get(number)?;
            let (prepared, reference) = (&case.prepared, case.reference.as_ref().expect("validation needs it"));
            let [labels, native] = predict(predictor, prepared, &decision, &go_on)?;
            let dice = dice_of(&native, reference, &decision, &targets)?;
            let constant = labels.iter().all(|l| *l == labels[0]);
            let score = CaseDice { case: name.clone(), dice, constant };
            seen(&Predicted { number, score: &score, prepared, labels: &labels });
            scores.push(score);
        }
        Ok(scores)
    }
}

/// Dice of each foreground class, or of each region.
fn dice_of(
    native: &[u16],
    reference: &[u16],
    decision: &Decision,
    targets: &[Target],
) -> Result<Vec<Option<f64>>, TrainError> {
    if let Decision::Largest(classes) = decision {
        // In one pass, however many classes there are.
        return Ok(Overlap::of_classes(native, reference, *classes)?.iter().skip(1).map(Overlap::dice).collect());
    }
    let of = |target: &Target| Ok(Overlap::count_where(native, reference, |class| target.contains(class))?.dice());
    targets.iter().map(of).collect()
}

/// Labels of a case on the prepared grid and on that of its file, unless `go_on` ends the prediction after a window.
/// Probabilities become labels slab by slab.
fn predict(
    predictor: &Predictor,
    prepared: &Prepared,
    decision: &Decision,
    go_on: impl Fn() -> Result<(), TrainError>,
) -> Result<[Vec<u16>; 2], TrainError> {
    let (mut labels, mut ended) = (Vec::with_capacity(prepared.geometry.grid.voxel_count()), None);
    let mut restoration = Restoration::new(&prepared.geometry, decision.clone());
    let slab = |slab: &[f32]| {
        labels.extend(decision.labels(slab));
        restoration.push(slab);
    };
    let predicted = predictor.predict_slabs(prepared, slab, asking(go_on, &mut ended));
    ended.map_or(Ok(()), Err)?;
    predicted?;
    Ok([labels, restoration.finish().0])
}

/// Ends a prediction after the window where `go_on` fails, and keeps the reason.
pub(super) fn asking(
    go_on: impl Fn() -> Result<(), TrainError>,
    ended: &mut Option<TrainError>,
) -> impl FnMut(usize, usize) -> ControlFlow<()> {
    move |_, _| match go_on() {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *ended = Some(error);
            ControlFlow::Break(())
        }
    }
}

/// Mean Dice of each class over the cases where it is defined.
pub(super) fn class_means(scores: &[CaseDice]) -> Vec<Option<f64>> {
    let classes = scores.first().map_or(0, |s| s.dice.len());
    (0..classes).map(|class| mean(scores.iter().filter_map(|s| s.dice[class]))).collect()
}

/// Mean of the defined values.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
