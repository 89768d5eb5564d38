//! The score of the PROMISE12 challenge (Litjens et al. 2014, Med Image Anal 18:359).
//!
//! Twelve numbers per case, Dice, average surface distance, HD95 and absolute relative volume difference of whole
//! organ, apex and base, each become a score: 100 for a perfect segmentation, 85 for the second observer's mean, linear
//! in between and below, never under 0. The score of a case is their mean:
//!
//! ```text
//! score = max(0, 100 - 15 · |value - perfect| / |observer - perfect|)        perfect: Dice 1, the others 0
//! ```
//!
//! A value that does not exist (an empty prediction has no surface) scores 0. The second observer's means are an input,
//! [`Observer`]: those of the challenge hold for its test cases and are printed in the paper, other data need their
//! own.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::evaluation::{field, quoted, write};
use super::{CaseScores, Metric, MetricError, Presence, Region, Summary};

/// Score of the second observer.
const OBSERVER_SCORE: f64 = 85.0;

/// The second observer's means in one region.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionMeans {
    /// Dice coefficient, 0 to 1.
    pub dice: f64,
    /// Average symmetric surface distance, mm.
    pub assd_mm: f64,
    /// 95th-percentile Hausdorff distance, mm.
    pub hd95_mm: f64,
    /// |prediction - reference| / reference, a fraction.
    pub absolute_relative_volume_difference: f64,
}

/// The second observer's means: a TOML file with the tables `[whole]`, `[apex]` and `[base]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// Whole organ.
    pub whole: RegionMeans,
    /// Caudal third.
    pub apex: RegionMeans,
    /// Cranial third.
    pub base: RegionMeans,
}

impl RegionMeans {
    /// Metrics with the perfect value and the observer's.
    fn scales(&self) -> [(Metric, f64, f64); 4] {
        [
            (Metric::Dice, 1.0, self.dice),
            (Metric::AssdMm, 0.0, self.assd_mm),
            (Metric::Hd95Mm, 0.0, self.hd95_mm),
            (Metric::AbsoluteRelativeVolumeDifference, 0.0, self.absolute_relative_volume_difference),
        ]
    }
}

impl Observer {
    /// Reads the file.
    ///
    /// # Errors
    /// One line that names the file, and the key or what was expected.
    pub fn read(path: &Path) -> Result<Observer, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: cannot read: {e}", path.display()))?;
        let observer: Observer = toml::from_str(&text)
            .map_err(|e: toml::de::Error| format!("{}: {}", path.display(), e.message().replace('\n', " ")))?;
        for region in Region::ALL {
            for (metric, perfect, value) in observer.means(region).scales() {
                // Dice lies below 1, errors above 0; a perfect observer leaves nothing to divide by.
                let good = if metric == Metric::Dice { (0.0..1.0).contains(&value) } else { value > perfect };
                if !(good && value.is_finite()) {
                    return Err(format!(
                        "{}: key {}.{}: expected a Dice from 0 up to, not including, 1, or a positive error, found {value}",
                        path.display(),
                        region.key(),
                        metric.key()
                    ));
                }
            }
        }
        Ok(observer)
    }

    fn means(&self, region: Region) -> &RegionMeans {
        match region {
            Region::Whole => &self.whole,
            Region::Apex => &self.apex,
            Region::Base => &self.base,
        }
    }

    /// The score of one region, 0 to 100; `None` if the reference has no organ.
    pub fn region_score(&self, scores: &CaseScores) -> Option<f64> {
        if matches!(scores.presence, Presence::EmptyReference | Presence::BothEmpty) {
            return None;
        }
        let of = |(metric, perfect, observer): (Metric, f64, f64)| {
            let value = scores.value(metric)?;
            Some(100.0 - (100.0 - OBSERVER_SCORE) * (value - perfect).abs() / (observer - perfect).abs())
        };
        let scales = self.means(scores.region).scales();
        Some(scales.into_iter().map(|scale| of(scale).unwrap_or(0.0).max(0.0)).sum::<f64>() / scales.len() as f64)
    }

    /// The score of every case, of the class of the smallest value, in the order of the records; `None` if a region has
    /// no score.
    pub fn scores(&self, cases: &[CaseScores]) -> Vec<(String, Option<f64>)> {
        let mut found: Vec<(String, Option<f64>)> = Vec::new();
        let organ = cases.iter().map(|scores| scores.class).min().unwrap_or(1);
        for scores in cases.iter().filter(|scores| scores.class == organ && scores.region == Region::Whole) {
            let of = |region: Region| {
                let part = cases.iter().find(|s| s.case == scores.case && s.class == organ && s.region == region)?;
                self.region_score(part)
            };
            let regions: Option<Vec<f64>> = Region::ALL.into_iter().map(of).collect();
            let mean = regions.map(|regions| regions.iter().sum::<f64>() / regions.len() as f64);
            found.push((scores.case.clone(), mean));
        }
        found
    }

    /// Writes `promise12.csv` (case and score, empty where there is none) into a folder; statistics of the scores.
    ///
    /// # Errors
    /// [`MetricError::Write`] that names the file.
    pub fn write(&self, cases: &[CaseScores], folder: &Path) -> Result<Summary, MetricError> {
        let scores = self.scores(cases);
        let lines = scores.iter().map(|(case, score)| format!("{},{}\n", quoted(case), field(*score)));
        write(&folder.join("promise12.csv"), format!("case,score\n{}", lines.collect::<String>()).as_bytes())?;
        Ok(Summary::of(scores.iter().map(|(_, score)| *score)))
    }
}
