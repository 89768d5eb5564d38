use super::TrainError;
use crate::data::{Case, Fit, LabelMap, Preparation, Prepared, prepare_image, read_case_label};
use crate::infer::Predictor;
use crate::metrics::Overlap;
use std::ops::ControlFlow;

/// Dice of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseDice {
    /// Name of the case.
    pub case: String,
    /// Dice of each foreground class on the grid of the file; `None` where prediction and reference are both empty.
    pub dice: Vec<Option<f64>>,
    /// Whether the whole prediction is one class.
    pub constant: bool,
}

/// The validation cases, kept in memory.
#[derive(Debug)]
pub struct Validation {
    cases: Vec<(String, Prepared, LabelMap)>,
    classes: usize,
}

impl Validation {
    /// Reads and prepares cases.
    ///
    /// # Errors
    /// [`TrainError::Data`] that names the file.
    pub fn new(cases: &[Case], preparation: &Preparation) -> Result<Self, TrainError> {
        let read = |case: &Case| -> Result<(String, Prepared, LabelMap), TrainError> {
            let (prepared, image) = prepare_image(&case.image, preparation, Fit::Whole)?;
            let reference = read_case_label(case, &image, preparation)?;
            Ok((case.name.clone(), prepared.with_label(&reference), reference))
        };
        Ok(Self { cases: cases.iter().map(read).collect::<Result<_, _>>()?, classes: preparation.classes })
    }

    /// Whether there is nothing to validate on.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Prepared volume of a case.
    pub fn prepared(&self, case: usize) -> &Prepared {
        &self.cases[case].1
    }

    /// Predicts every case; `seen` gets each with its labels on the prepared grid. `go_on` is asked after every window and
    /// may end the validation.
    ///
    /// # Errors
    /// [`TrainError`] when the device failed, or that of `go_on`.
    pub fn run(
        &self,
        predictor: &Predictor,
        go_on: impl Fn() -> Result<(), TrainError>,
        mut seen: impl FnMut(usize, &CaseDice, &[u16]),
    ) -> Result<Vec<CaseDice>, TrainError> {
        let mut scores = Vec::new();
        for (i, (name, prepared, reference)) in self.cases.iter().enumerate() {
            let probabilities = predict(predictor, prepared, &go_on)?;
            let labels = predictor.labels(&probabilities);
            let native = prepared.geometry.restore_classes(&probabilities, self.classes);
            let dice = (1..self.classes)
                .map(|class| Ok(Overlap::count(&native, &reference.voxels, class as u16)?.dice()))
                .collect::<Result<Vec<_>, TrainError>>()?;
            let constant = labels.iter().all(|l| *l == labels[0]);
            let score = CaseDice { case: name.clone(), dice, constant };
            seen(i, &score, &labels);
            scores.push(score);
        }
        Ok(scores)
    }
}

/// Probabilities of a case, unless `go_on` says no after one of its windows.
fn predict(
    predictor: &Predictor,
    prepared: &Prepared,
    go_on: impl Fn() -> Result<(), TrainError>,
) -> Result<Vec<f32>, TrainError> {
    let (mut probabilities, mut ended) = (Vec::new(), None);
    let slab = |slab: &[f32]| probabilities.extend_from_slice(slab);
    let predicted = predictor.predict_slabs(prepared, slab, asking(go_on, &mut ended));
    ended.map_or(Ok(()), Err)?;
    Ok(predicted.map(|()| probabilities)?)
}

/// Ends a prediction after the window at which `go_on` says no, and keeps the reason.
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
