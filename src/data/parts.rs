//! What a table of cases says of what each case is for, and the splits that follow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::DataError;
use super::error::some_of;
use super::split::{Split, shuffle};

/// What a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its gradients are followed.
    Train,
    /// It helps to choose the best model.
    Validation,
    /// It is never looked at before the end.
    Test,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// Its word in a table.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

/// The parts of the cases of a table, where it gives any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The table.
    pub path: PathBuf,
    /// The part of each case that has one.
    pub given: BTreeMap<String, Part>,
}

impl Parts {
    /// The split of these cases. Cases without a part are divided at random among the parts that no case was given, in the ratio
    /// of `fractions` (train, validation, test), in the same way for the same names and seed.
    ///
    /// # Errors
    /// [`DataError::Split`] where every part is given and some case has none, or where no case trains;
    /// [`DataError::Fractions`].
    pub fn split(&self, names: &[String], seed: u64, fractions: [f64; 3]) -> Result<Split, DataError> {
        Split::check_fractions(fractions)?;
        let free = self.without_part(names);
        let open: Vec<Part> =
            Part::ALL.into_iter().filter(|part| !self.given.values().any(|given| given == part)).collect();
        if let (Some(_), true) = (free.first(), open.is_empty()) {
            let problem = format!(
                "the column split is empty for {}, and other rows have train, validation and test; expected one of them in \
                 every row",
                some_of(&free)
            );
            return Err(DataError::Split { path: self.path.clone(), problem });
        }
        let mut split = self.given(names);
        let mut left = shuffle(&free, seed);
        let counts = counts(left.len(), &open, fractions);
        for (part, count) in open.into_iter().zip(counts) {
            part_of(&mut split, part).extend(left.drain(..count));
        }
        self.with_training(split.sorted())
    }

    /// Fold `index` (from 0) of `folds` of the cases that are not for the test. Those of the test stay so in every fold.
    ///
    /// # Errors
    /// As [`Split::fold`].
    pub fn fold(&self, names: &[String], seed: u64, index: usize, folds: usize) -> Result<Split, DataError> {
        let is_test = |name: &&String| self.given.get(*name) == Some(&Part::Test);
        let (test, others): (Vec<&String>, Vec<&String>) = names.iter().partition(is_test);
        let others: Vec<String> = others.into_iter().cloned().collect();
        let split = Split::fold(&others, seed, index, folds)?;
        Ok(Split { test: test.into_iter().cloned().collect(), ..split }.sorted())
    }

    fn without_part(&self, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| !self.given.contains_key(*name)).cloned().collect()
    }

    /// The cases that were given a part.
    fn given(&self, names: &[String]) -> Split {
        let mut split = Split::default();
        for (name, part) in names.iter().filter_map(|name| Some((name, self.given.get(name)?))) {
            part_of(&mut split, *part).push(name.clone());
        }
        split
    }

    fn with_training(&self, split: Split) -> Result<Split, DataError> {
        if split.train.is_empty() {
            let problem = "no case is for train, expected at least one".to_owned();
            return Err(DataError::Split { path: self.path.clone(), problem });
        }
        Ok(split)
    }
}

fn part_of(split: &mut Split, part: Part) -> &mut Vec<String> {
    match part {
        Part::Train => &mut split.train,
        Part::Validation => &mut split.validation,
        Part::Test => &mut split.test,
    }
}

/// How many of `cases` each of the open parts gets: its share, rounded to the nearest, and at least one where it has a share and
/// there are enough cases. The first part has what the others leave.
fn counts(cases: usize, open: &[Part], fractions: [f64; 3]) -> Vec<usize> {
    let share = |part: &Part| fractions[*part as usize];
    let all: f64 = open.iter().map(share).sum();
    let mut left = cases;
    let mut counts: Vec<usize> = Vec::new();
    for part in open.iter().skip(1).rev() {
        let nearest = if all > 0.0 { (share(part) / all * cases as f64).round() as usize } else { 0 };
        let least = usize::from(share(part) > 0.0 && cases >= open.len());
        let count = nearest.max(least).min(left.saturating_sub(1));
        left -= count;
        counts.insert(0, count);
    }
    if !open.is_empty() {
        counts.insert(0, left);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::split::DEFAULT_FRACTIONS;
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("case_{index:02}")).collect()
    }

    fn parts(given: &[(usize, Part)]) -> Parts {
        let given = given.iter().map(|(index, part)| (format!("case_{index:02}"), *part)).collect();
        Parts { path: "cases.csv".into(), given }
    }

    fn all(split: &Split) -> Vec<String> {
        let mut all = [split.train.clone(), split.validation.clone(), split.test.clone()].concat();
        all.sort();
        all
    }

    #[test]
    fn words_stay_and_the_seed_divides_the_rest() {
        use Part::{Test, Train, Validation};
        for count in 4..30 {
            let made = |given: &[(usize, Part)]| {
                let split = parts(given).split(&names(count), 5, DEFAULT_FRACTIONS).expect("a split");
                assert_eq!(all(&split), names(count));
                split
            };
            let split = made(&[(1, Test), (3, Test)]);
            assert_eq!(split.test, ["case_01", "case_03"]);
            assert!(!split.train.is_empty() && !split.validation.is_empty(), "{count}");
            assert!(split.validation.len() < split.train.len().max(2), "shares of 0.7 and 0.1: {split:?}");
            let split = made(&[(0, Train), (2, Test)]);
            assert_eq!((split.train.len(), split.validation.len()), (1, count - 2));
            let split = made(&[(0, Train)]);
            assert!(split.test.len() >= split.validation.len() && !split.validation.is_empty(), "{split:?}");
            let split = made(&[(0, Validation), (1, Test)]);
            assert_eq!(split.train.len(), count - 2);
        }
        let reversed: Vec<String> = names(20).into_iter().rev().collect();
        let of = |names: &[String], seed| parts(&[(1, Test)]).split(names, seed, DEFAULT_FRACTIONS).expect("a split");
        assert_eq!(of(&names(20), 3), of(&reversed, 3));
        assert_ne!(of(&names(20), 3), of(&names(20), 4));
    }

    #[test]
    fn a_row_without_a_place_and_a_set_without_training_are_refused() {
        use Part::{Test, Train, Validation};
        let error = |given: &[(usize, Part)], count| {
            parts(given).split(&names(count), 0, DEFAULT_FRACTIONS).expect_err("refused").to_string()
        };
        let text = error(&[(0, Train), (1, Validation), (2, Test)], 4);
        assert!(text.starts_with("cases.csv: the column split is empty for case_03, and other rows"), "{text}");
        assert_eq!(error(&[(0, Test), (1, Validation)], 2), "cases.csv: no case is for train, expected at least one");
    }

    #[test]
    fn folds_are_made_of_what_is_not_for_the_test() {
        let parts = parts(&[(2, Part::Test), (5, Part::Train), (7, Part::Validation)]);
        let mut validated = Vec::new();
        for index in 0..3 {
            let split = parts.fold(&names(10), 4, index, 3).expect("a fold");
            assert_eq!(split.test, ["case_02"]);
            assert_eq!(all(&split), names(10));
            validated.extend(split.validation);
        }
        validated.sort();
        assert_eq!(validated, names(10).into_iter().filter(|name| name != "case_02").collect::<Vec<_>>());
    }
}
