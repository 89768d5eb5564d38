//! Which class is taken for which: voxels over all cases by their class in the reference and in the prediction.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Voxel counts of pairs of values, reference first.
pub(crate) type PairCounts = BTreeMap<(u16, u16), u64>;

/// A confusion matrix. Voxels that are ignored are in no count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Values of the classes in the label maps, ascending, background among them.
    pub values: Vec<u16>,
    /// Their names.
    pub names: Vec<String>,
    /// Voxels by class of the reference, then by class of the prediction.
    pub voxels: Vec<Vec<u64>>,
}

impl Confusion {
    /// The matrix of all cases.
    pub(crate) fn of(cases: &[PairCounts], name: impl Fn(u16) -> String) -> Self {
        let pairs = || cases.iter().flatten();
        let values: BTreeSet<u16> = pairs().flat_map(|((r, p), _)| [*r, *p]).collect();
        let values: Vec<u16> = values.into_iter().collect();
        let mut voxels = vec![vec![0; values.len()]; values.len()];
        let place = |value: &u16| values.binary_search(value).expect("every value is listed");
        for ((r, p), count) in pairs() {
            voxels[place(r)][place(p)] += count;
        }
        Self { names: values.iter().map(|value| name(*value)).collect(), values, voxels }
    }

    /// Counts the pairs of two maps of equal length.
    pub(crate) fn count(reference: &[u16], prediction: &[u16]) -> PairCounts {
        let mut counts = PairCounts::new();
        let mut at = 0;
        // Most neighbours are alike: a look-up per run, not per voxel.
        while at < reference.len() {
            let pair = (reference[at], prediction[at]);
            let rest = reference[at..].iter().zip(&prediction[at..]);
            let run = rest.take_while(|(r, p)| (**r, **p) == pair).count();
            *counts.entry(pair).or_default() += run as u64;
            at += run;
        }
        counts
    }

    /// The part of a row's voxels, those of one class of the reference, that the prediction has in each class; `None` of a class
    /// that the reference lacks.
    pub fn shares(&self, row: usize) -> Option<Vec<f64>> {
        let all: u64 = self.voxels[row].iter().sum();
        (all > 0).then(|| self.voxels[row].iter().map(|count| *count as f64 / all as f64).collect())
    }

    /// As comma-separated values: a row per class of the reference, a column per class of the prediction.
    pub(super) fn to_csv(&self) -> String {
        let column = |(value, name): (&u16, &String)| super::evaluation::quoted(&format!("{value} {name}"));
        let columns: Vec<String> = self.values.iter().zip(&self.names).map(column).collect();
        let mut csv = format!("reference \\ prediction,{}\n", columns.join(","));
        for (name, row) in columns.iter().zip(&self.voxels) {
            let counts: Vec<String> = row.iter().map(u64::to_string).collect();
            csv += &format!("{name},{}\n", counts.join(","));
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_are_counted_by_both_classes() {
        let cases = [Confusion::count(&[0, 0, 1, 1, 7], &[0, 1, 1, 0, 7]), Confusion::count(&[0, 7, 7], &[0, 1, 1])];
        let matrix = Confusion::of(&cases, |value| format!("class {value}"));
        assert_eq!(matrix.values, [0, 1, 7]);
        assert_eq!(matrix.voxels, [[2, 1, 0], [1, 1, 0], [0, 2, 1]]);
        assert_eq!(matrix.shares(1), Some(vec![0.5, 0.5, 0.0]));
        let csv = "reference \\ prediction,0 class 0,1 class 1,7 class 7\n0 class 0,2,1,0\n1 class 1,1,1,0\n7 class 7,0,2,1\n";
        assert_eq!(matrix.to_csv(), csv);
    }
}
