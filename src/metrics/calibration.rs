//! Whether probabilities are what they say: expected calibration error (ECE) and Brier score over voxels.
//!
//! | score | definition |
//! |---|---|
//! | ECE of all classes | top-label: in 15 equal bins of the largest probability, Σ n_bin / n · \|accuracy - mean probability\| |
//! | ECE of a class | the same of its probability, with the part of voxels that are of the class for the accuracy |
//! | Brier score of all classes | mean over voxels of Σ over classes, background among them, (p - y)²: 0 to 2 |
//! | Brier score of a class | mean over voxels of (p - y)²: 0 to 1 |
//!
//! They are `netcal.metrics.ECE(15)` of several and of two classes (Guo et al. 2017, ICML, 1321; Küppers et al. 2020, CVPR
//! Workshops, 326), and Brier 1950, Mon Weather Rev 78:1. A bin holds its lower end. Most voxels are background, and easy: so the
//! errors of classes say more than that of all.

use serde::{Deserialize, Serialize};

use super::{Bootstrap, IGNORED, Summary};

/// Bins of probabilities.
const BINS: usize = 15;

/// Voxels in equal bins of a probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Voxels in each bin.
    pub voxels: Vec<u64>,
    /// Sum of their probabilities.
    pub probability: Vec<f64>,
    /// How many of them are what the probability is of.
    pub correct: Vec<u64>,
}

impl Default for Bins {
    fn default() -> Self {
        Self { voxels: vec![0; BINS], probability: vec![0.0; BINS], correct: vec![0; BINS] }
    }
}

impl Bins {
    fn add(&mut self, probability: f64, correct: bool) {
        let bin = ((probability * BINS as f64) as usize).min(BINS - 1);
        self.voxels[bin] += 1;
        self.probability[bin] += probability;
        self.correct[bin] += u64::from(correct);
    }

    fn merge(&mut self, other: &Self) {
        for bin in 0..BINS {
            self.voxels[bin] += other.voxels[bin];
            self.probability[bin] += other.probability[bin];
            self.correct[bin] += other.correct[bin];
        }
    }

    /// Of each bin with voxels: mean probability, the part that is correct, and the part of all voxels.
    pub fn points(&self) -> Vec<[f64; 3]> {
        let all = self.voxels.iter().sum::<u64>() as f64;
        let point = |bin: usize| {
            let count = self.voxels[bin] as f64;
            [self.probability[bin] / count, self.correct[bin] as f64 / count, count / all]
        };
        (0..self.voxels.len()).filter(|bin| self.voxels[*bin] > 0).map(point).collect()
    }

    /// Expected calibration error; `None` without voxels.
    pub fn ece(&self) -> Option<f64> {
        let points = self.points();
        let gap = |[probability, correct, part]: &[f64; 3]| part * (probability - correct).abs();
        (!points.is_empty()).then(|| points.iter().map(gap).sum())
    }
}

/// The bins and sums of some voxels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CalibrationCounts {
    voxels: u64,
    /// Largest probability, of classes that exclude one another.
    top: Option<Bins>,
    squares: f64,
    /// Of each foreground class or region, its bins and its sum of squares.
    classes: Vec<(Bins, f64)>,
}

impl CalibrationCounts {
    /// Counts a case of `count` classes that exclude one another. `truth` has the number of the class of each voxel, 0 for
    /// background, [`IGNORED`] for voxels that do not count; `probabilities` gives those of a class from 1 on, one at a time.
    ///
    /// # Errors
    /// Those of `probabilities`.
    pub fn of_classes<E>(
        truth: &[u16],
        count: usize,
        mut probabilities: impl FnMut(usize) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut counts = Self { top: Some(Bins::default()), ..Self::default() };
        let mut rest = vec![1.0f64; truth.len()];
        let mut best = vec![(0.0f32, 0u16); truth.len()];
        for (class, number) in (1..=count).zip(1u16..) {
            let of_class = probabilities(class)?;
            let is_class = |voxel: usize| truth[voxel] == number;
            counts.add_class(truth, &of_class, is_class);
            for (voxel, p) in of_class.iter().enumerate() {
                rest[voxel] -= f64::from(*p);
                if *p > best[voxel].0 {
                    best[voxel] = (*p, number);
                }
            }
        }
        counts.squares = counts.classes.iter().map(|(_, squares)| squares).sum();
        let top = counts.top.as_mut().expect("made above");
        for (voxel, &class) in truth.iter().enumerate().filter(|(_, class)| **class != IGNORED) {
            let background = rest[voxel].clamp(0.0, 1.0);
            counts.squares += (background - f64::from(u8::from(class == 0))).powi(2);
            let (p, likely) = best[voxel];
            let (p, likely) = if background >= f64::from(p) { (background, 0) } else { (f64::from(p), likely) };
            top.add(p.min(1.0), likely == class);
        }
        Ok(counts)
    }

    /// Counts a case of regions, which may overlap: `inside` says for a region from 1 on, and a voxel, whether it is in it.
    ///
    /// # Errors
    /// Those of `probabilities`.
    pub fn of_regions<E>(
        truth: &[u16],
        count: usize,
        inside: impl Fn(usize, usize) -> bool,
        mut probabilities: impl FnMut(usize) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut counts = Self::default();
        for region in 1..=count {
            counts.add_class(truth, &probabilities(region)?, |voxel| inside(region, voxel));
        }
        Ok(counts)
    }

    fn add_class(&mut self, truth: &[u16], probabilities: &[f32], is_class: impl Fn(usize) -> bool) {
        let (mut bins, mut squares, mut voxels) = (Bins::default(), 0.0, 0);
        for (voxel, p) in probabilities.iter().enumerate().filter(|(voxel, _)| truth[*voxel] != IGNORED) {
            let (p, correct) = (f64::from(*p).clamp(0.0, 1.0), is_class(voxel));
            bins.add(p, correct);
            squares += (p - f64::from(u8::from(correct))).powi(2);
            voxels += 1;
        }
        self.voxels = voxels;
        self.classes.push((bins, squares));
    }

    fn merge(&mut self, other: &Self) {
        self.voxels += other.voxels;
        self.squares += other.squares;
        match (&mut self.top, &other.top) {
            (Some(top), Some(other)) => top.merge(other),
            (top, other) => *top = top.take().or_else(|| other.clone()),
        }
        self.classes.resize(other.classes.len(), (Bins::default(), 0.0));
        for ((bins, squares), (other, more)) in self.classes.iter_mut().zip(&other.classes) {
            bins.merge(other);
            *squares += more;
        }
    }

    /// Number of foreground classes or regions.
    pub fn count(&self) -> usize {
        self.classes.len()
    }

    fn mean(&self, squares: f64) -> Option<f64> {
        (self.voxels > 0).then(|| squares / self.voxels as f64)
    }
}

/// Calibration of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationCase {
    /// Name of the case.
    pub case: String,
    /// Top-label ECE; `None` of regions.
    pub ece: Option<f64>,
    /// Brier score of all classes; `None` of regions.
    pub brier: Option<f64>,
    /// ECE of each foreground class or region.
    pub class_ece: Vec<Option<f64>>,
    /// Brier score of each foreground class or region.
    pub class_brier: Vec<Option<f64>>,
}

/// Calibration of one class or region over all voxels of all cases, and statistics over cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCalibration {
    /// Value of the class in the label maps.
    pub class: u16,
    /// Name of the class.
    pub class_name: String,
    /// ECE over all voxels.
    pub ece: Option<f64>,
    /// Brier score over all voxels.
    pub brier: Option<f64>,
    /// ECE over cases.
    pub case_ece: Summary,
    /// Brier score over cases.
    pub case_brier: Summary,
    /// Its reliability diagram.
    pub bins: Bins,
}

/// Calibration of all cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of bins.
    pub bins: usize,
    /// Top-label ECE over all voxels; `None` of regions, which have no top label.
    pub ece: Option<f64>,
    /// Brier score over all voxels; `None` of regions.
    pub brier: Option<f64>,
    /// Top-label ECE over cases.
    pub case_ece: Summary,
    /// Brier score over cases.
    pub case_brier: Summary,
    /// The reliability diagram of the top label.
    pub top: Option<Bins>,
    /// Every class or region.
    pub classes: Vec<ClassCalibration>,
    /// Every case.
    pub cases: Vec<CalibrationCase>,
}

impl Calibration {
    /// Statistics of counted cases; the classes by value and name.
    pub fn of(cases: Vec<(String, CalibrationCounts)>, classes: &[(u16, String)]) -> Self {
        let mut all = CalibrationCounts::default();
        cases.iter().for_each(|(_, counts)| all.merge(counts));
        let of_case = |(case, counts): &(String, CalibrationCounts)| {
            let exclusive = counts.top.as_ref();
            CalibrationCase {
                case: case.clone(),
                ece: exclusive.and_then(Bins::ece),
                brier: exclusive.and_then(|_| counts.mean(counts.squares)),
                class_ece: counts.classes.iter().map(|(bins, _)| bins.ece()).collect(),
                class_brier: counts.classes.iter().map(|(_, squares)| counts.mean(*squares)).collect(),
            }
        };
        let cases: Vec<CalibrationCase> = cases.iter().map(of_case).collect();
        let of_class = |(position, (value, name)): (usize, &(u16, String))| {
            let (bins, squares) = all.classes.get(position)?;
            Some(ClassCalibration {
                class: *value,
                class_name: name.clone(),
                ece: bins.ece(),
                brier: all.mean(*squares),
                case_ece: Summary::of(cases.iter().map(|case| case.class_ece[position])),
                case_brier: Summary::of(cases.iter().map(|case| case.class_brier[position])),
                bins: bins.clone(),
            })
        };
        let mut found = Self {
            bins: BINS,
            ece: all.top.as_ref().and_then(Bins::ece),
            brier: all.top.as_ref().and_then(|_| all.mean(all.squares)),
            case_ece: Summary::of(cases.iter().map(|case| case.ece)),
            case_brier: Summary::of(cases.iter().map(|case| case.brier)),
            classes: classes.iter().enumerate().filter_map(of_class).collect(),
            top: all.top,
            cases,
        };
        found.add_intervals();
        found
    }

    /// Computes the confidence intervals of the means over cases.
    fn add_intervals(&mut self) {
        let Self { cases, classes, case_ece, case_brier, .. } = self;
        let mut samples = vec![
            cases.iter().filter_map(|case| case.ece).collect::<Vec<f64>>(),
            cases.iter().filter_map(|case| case.brier).collect(),
        ];
        for class in 0..classes.len() {
            samples.push(cases.iter().filter_map(|case| case.class_ece[class]).collect());
            samples.push(cases.iter().filter_map(|case| case.class_brier[class]).collect());
        }
        let of_classes = classes.iter_mut().flat_map(|class| [&mut class.case_ece, &mut class.case_brier]);
        let summaries = [case_ece, case_brier].into_iter().chain(of_classes);
        for (summary, interval) in summaries.zip(Bootstrap::default().means(&samples)) {
            summary.interval = interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Three voxels of two foreground classes, by hand; a fourth is ignored.
    #[test]
    fn bins_and_squares_by_hand() {
        let (first, second) = (vec![0.75, 0.25, 0.125, 0.5], vec![0.125, 0.5, 0.125, 0.5]);
        let truth = [1, 1, 0, IGNORED];
        let of = |class: usize| Ok::<_, Infallible>([first.clone(), second.clone()][class - 1].clone());
        let Ok(counts) = CalibrationCounts::of_classes(&truth, 2, of);
        let found = Calibration::of(vec![("a".to_owned(), counts)], &[(1, "one".to_owned()), (5, "two".to_owned())]);
        // Tops: 0.75 right, 0.5 wrong (class 2), 0.75 of background right; the two of 0.75 share a bin.
        assert_eq!(found.ece, Some((2.0 * 0.25 + 0.5) / 3.0));
        let squares = [0.0625 + 0.015625 + 0.015625, 0.5625 + 0.25 + 0.0625, 0.0625 + 0.015625 * 2.0];
        assert_eq!(found.brier, Some(squares.iter().sum::<f64>() / 3.0));
        assert_eq!(found.classes[0].brier, Some((0.0625 + 0.5625 + 0.015625) / 3.0));
        // Class 2 never occurs, so its error is its mean probability.
        assert_eq!((found.classes[1].class, found.classes[1].ece), (5, Some(0.75 / 3.0)));
        assert_eq!(found.cases[0].class_ece, [found.classes[0].ece, found.classes[1].ece]);
    }
}
