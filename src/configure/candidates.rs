//! The configurations that a plan tries besides that of the rules: a table of changes.
//!
//! A candidate is a name, why it may be better, and what it changes. Further ones are lines of [`CANDIDATES`].

use super::Design;
use super::fingerprint::Fingerprint;
use crate::data::{Sampling, TargetSpacing};
use crate::kernel::Target;
use crate::nn::InferenceGraph;
use crate::train::config::Patch;
use crate::train::{Config, Forecast, Preset, Setting, TrainError};
use toml::{Table, Value};

/// A change of one key: its number is multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times(pub &'static str, pub f64);

/// What a candidate does to the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchRule {
    /// Shortened, along the axis that is longest in mm, until a step has no more operations than with the rules' network.
    SameWork,
    /// Shortened likewise to half the voxels, at most: twice as many steps.
    Half,
}

/// A configuration to try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// In a word or two.
    pub name: &'static str,
    /// Why it may be better.
    pub why: &'static str,
    /// Changes of keys, in order.
    pub changes: &'static [Times],
    /// What becomes of the patch.
    pub patch: PatchRule,
}

/// The candidates in the order in which they are tried.
pub const CANDIDATES: &[Candidate] = &[
    Candidate {
        name: "wide",
        why: "twice the channels know more of each voxel, in a patch that takes no more time",
        changes: &[Times("network.features", 2.0)],
        patch: PatchRule::SameWork,
    },
    Candidate {
        name: "small patch",
        why: "half the patch gives twice as many steps",
        changes: &[],
        patch: PatchRule::Half,
    },
];

/// Voxels of an axis on the coarsest level, at least: one less than the rules keep, so that there is something to try.
const COARSEST: usize = 3;

impl Times {
    /// The change as `KEY=VALUE`; none where the key has no number.
    fn setting(&self, config: &Config) -> Option<String> {
        let Self(key, factor) = self;
        let table = Table::try_from(config).ok()?;
        let (table_name, name) = key.split_once('.')?;
        let value = match table.get(table_name)?.get(name)? {
            Value::Integer(number) => Value::Integer((*number as f64 * factor).round() as i64),
            Value::Float(number) => Value::Float(number * factor),
            _ => return None,
        };
        Some(format!("{key}={value}"))
    }
}

impl Candidate {
    /// The rules' configuration with the candidate's changes; none where a change does not apply, the network is not valid, the patch
    /// cannot be shortened so far, or nothing is changed.
    ///
    /// # Errors
    /// [`TrainError`] when the graph cannot be made.
    pub fn of(&self, rules: &Design, facts: &Fingerprint) -> Result<Option<Design>, TrainError> {
        let settings: Option<Vec<String>> = self.changes.iter().map(|change| change.setting(&rules.config)).collect();
        let Some(settings) = settings else { return Ok(None) };
        let text = rules.config.to_toml();
        let changed = Config::from_text(Preset::Small, Some((self.name, &text)), &Setting::parse_all(settings));
        let Ok(config) = changed else { return Ok(None) };
        let mut design = Design { config, ..rules.clone() };
        let network = facts.network(&design.config);
        if network.validate().is_err() {
            return Ok(None);
        }
        let work = |design: &Design| work(design, facts);
        let voxels = |design: &Design| design.patch.iter().product::<usize>() as f64;
        let enough = |design: &Design| -> Result<bool, TrainError> {
            Ok(match self.patch {
                PatchRule::SameWork => work(design)? <= work(rules)?,
                PatchRule::Half => 2.0 * voxels(design) <= voxels(rules),
            })
        };
        let [d, h, w] = network.divisor();
        while !enough(&design)? {
            if !shorten(&mut design, [w, h, d]) {
                return Ok(None);
            }
        }
        design.config.data.patch = Patch::Fixed(design.patch);
        if design.patch != rules.patch {
            design.config.data.sampling = Sampling::Patch;
        }
        Ok((design.config != rules.config).then_some(design))
    }
}

/// Operations of a step, in units of those of a forward pass.
fn work(design: &Design, facts: &Fingerprint) -> Result<f64, TrainError> {
    let [x, y, z] = design.patch;
    let graph = InferenceGraph::new(&facts.network(&design.config), 1, [z, y, x])?;
    let flops: u64 = graph.layers.iter().map(|layer| layer.flops).sum();
    Ok(flops as f64 * design.config.training.batch as f64)
}

/// Shortens the axis that is longest in mm by one divisor of the network, x, y, z; false where none can be.
fn shorten(design: &mut Design, divisor: [usize; 3]) -> bool {
    let spacing = match design.config.data.spacing {
        TargetSpacing::Millimetres(spacing) => spacing,
        TargetSpacing::Native(_) => [1.0; 3],
    };
    let patch = &mut design.patch;
    let long = (0..3).filter(|&axis| patch[axis] > COARSEST * divisor[axis]);
    let length = |axis: usize| patch[axis] as f64 * spacing[axis];
    let longest = long.max_by(|&a, &b| length(a).total_cmp(&length(b)).then(b.cmp(&a)));
    if let Some(axis) = longest {
        patch[axis] -= divisor[axis];
    }
    longest.is_some()
}

/// Whether a design fits the device's memory.
pub(super) fn fits(design: &Design, facts: &Fingerprint, memory: Option<u64>, target: &Target) -> bool {
    let [x, y, z] = design.patch;
    let network = facts.network(&design.config);
    let forecast = Forecast::new(&network, &design.config.trainer_settings(), [z, y, x], target);
    forecast.is_ok_and(|forecast| memory.is_none_or(|memory| forecast.total() <= memory))
}
