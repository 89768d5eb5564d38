//! The rules that need no search: spacing, normalisation, sampling, augmentation, loss and optimiser.

use super::shape::{Shape, samples_wanted};
use super::{Budget, Design};
use crate::configure::Fingerprint;
use crate::configure::fingerprint::CaseFacts;
use crate::data::{Crop, ForegroundBy, Normalisation, PerChannel, Sampling};
use crate::train::config::Threads;

/// Ratio of the coarsest to the finest axis from which volumes are anisotropic (nnU-Net's).
const ANISOTROPIC: f64 = 3.0;
/// Part of the volume within the box of its non-zero voxels below which zeros are a mask (nnU-Net's).
const MASKED: f64 = 0.75;
/// Hounsfield units below which there is only air.
const AIR: f64 = -500.0;
/// Part of the cases for which a rule must hold.
const NEARLY_ALL: f64 = 0.95;
/// Adam's, with instance normalisation.
const LEARNING_RATE: f64 = 2e-3;
/// Augmentation is on if each training case is seen this often.
const VIEWS: f64 = 40.0;

/// The spacing of the network's input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spacing {
    pub(super) mm: [f64; 3],
    /// The axis that is finer than its median.
    pub(super) finer: Option<usize>,
    /// Whether voxels were made larger so that a patch covers enough.
    pub(super) coarsened: bool,
}

/// The median spacing. Along an axis that is three times as coarse as the finest and has a third of the others' voxels, the
/// tenth percentile.
pub(super) fn target_spacing(fingerprint: &Fingerprint) -> Spacing {
    let median: [f64; 3] = std::array::from_fn(|axis| fingerprint.median(|case| case.spacing[axis]));
    let extents = fingerprint.median_extents(median);
    let coarsest = (0..3).max_by(|&a, &b| median[a].total_cmp(&median[b])).expect("three axes");
    let finest = median.into_iter().fold(f64::INFINITY, f64::min);
    let others = (0..3).filter(|&axis| axis != coarsest);
    let few = others.clone().all(|axis| ANISOTROPIC * extents[coarsest] as f64 <= extents[axis] as f64);
    let mut spacing = Spacing { mm: median, finer: None, coarsened: false };
    if median[coarsest] >= ANISOTROPIC * finest && few {
        let tenth = fingerprint.percentile(10.0, |case| case.spacing[coarsest]);
        let limit = others.map(|axis| median[axis]).fold(0.0, f64::max);
        spacing.mm[coarsest] = tenth.max(limit);
        spacing.finer = Some(coarsest);
    }
    spacing.mm = spacing.mm.map(three_digits);
    spacing
}

/// A number of mm with three decimals.
pub(super) fn three_digits(mm: f64) -> f64 {
    ((mm * 1e3).round() / 1e3).max(0.01)
}

impl Spacing {
    /// The reason; `covers` says whether a patch covers enough in the end.
    pub(super) fn reason(&self, fingerprint: &Fingerprint, covers: bool) -> String {
        let range = |percent: f64| -> [f64; 3] {
            std::array::from_fn(|axis| three_digits(fingerprint.percentile(percent, |case| case.spacing[axis])))
        };
        let [least, median, most] = [0.0, 50.0, 100.0].map(range);
        let mut text = format!("x, y, z in mm; median {median:?} of the cases, from {least:?} to {most:?}");
        if let Some(axis) = self.finer {
            let axis = ["x", "y", "z"][axis];
            text += &format!("; along {axis}, which is much coarser, the finest tenth, so that few cases lose detail");
        }
        if self.coarsened {
            text += match covers {
                true => "; made larger until a patch covers a quarter of the median volume",
                false => {
                    "; made larger as far as there is a patch, which still covers less than a quarter of the median volume"
                }
            };
        }
        text + "."
    }
}

/// The normalisation of each channel, and the reason.
pub(super) fn normalisation(fingerprint: &Fingerprint) -> (PerChannel<Normalisation>, String) {
    let channels: Vec<_> = (0..fingerprint.channels).map(|channel| of_channel(fingerprint, channel)).collect();
    let text = match &channels[..] {
        [(_, reason)] => reason.clone(),
        several => {
            let name = |channel: usize| match fingerprint.channel_names.get(channel) {
                Some(name) => format!("channel {} ({name})", channel + 1),
                None => format!("channel {}", channel + 1),
            };
            let line =
                |(channel, (_, reason)): (usize, &(Normalisation, String))| format!("{}: {reason}", name(channel));
            several.iter().enumerate().map(line).collect::<Vec<_>>().join(" ")
        }
    };
    (PerChannel::collected(channels.into_iter().map(|(normalisation, _)| normalisation).collect()), text)
}

/// As nnU-Net chooses, by the name of a channel: `CT`, `noNorm`; else by its intensities.
fn of_channel(fingerprint: &Fingerprint, channel: usize) -> (Normalisation, String) {
    let declared = fingerprint.channel_names.get(channel);
    if declared.is_some_and(|modality| modality.eq_ignore_ascii_case("ct")) {
        let text = "dataset.json says CT: one window for all, the labelled voxels' percentiles 0.5 and 99.5.";
        return (Normalisation::CtWindow, text.to_owned());
    }
    if declared.is_some_and(|modality| modality.eq_ignore_ascii_case("nonorm")) {
        return (Normalisation::None, "dataset.json says noNorm: values as they are.".to_owned());
    }
    let air = share(fingerprint, |case| case.channels[channel].low < AIR);
    if declared.is_none() && air >= NEARLY_ALL {
        let text = format!(
            "{:.0} % of the cases have air below {AIR}, as only CT's Hounsfield units do: one window for all.",
            100.0 * air
        );
        return (Normalisation::CtWindow, text);
    }
    let means = [0.0, 100.0].map(|percent| fingerprint.percentile(percent, |case| case.channels[channel].mean));
    let box_share = fingerprint.median(|case| case.channels[channel].nonzero_box);
    let scale = format!("case means from {:.4} to {:.4}, so each volume has its own scale", means[0], means[1]);
    match box_share < MASKED {
        true => (
            Normalisation::ZScoreNonZero,
            format!("{scale}; non-zero voxels fill {:.0} % of the median volume: zeros are a mask.", 100.0 * box_share),
        ),
        false => (
            Normalisation::ZScoreAll,
            format!("{scale}; non-zero voxels fill {:.0} % of the median volume: no mask.", 100.0 * box_share),
        ),
    }
}

fn share(fingerprint: &Fingerprint, of: impl Fn(&CaseFacts) -> bool) -> f64 {
    fingerprint.cases.iter().filter(|case| of(case)).count() as f64 / fingerprint.cases.len().max(1) as f64
}

/// Whether all labelled voxels lie in the centred patch.
pub(super) fn is_held(case: &CaseFacts, patch: [usize; 3], spacing: [f64; 3]) -> bool {
    let Some(labelled) = case.labelled else { return true };
    (0..3).all(|axis| {
        let middle = (case.extents[axis] as f64 - 1.0) / 2.0;
        let half = patch[axis] as f64 * spacing[axis] / 2.0;
        labelled[axis].iter().all(|&voxel| (voxel as f64 - middle).abs() * case.spacing[axis] <= half)
    })
}

/// Whether volumes are cropped: where the box of non-zero voxels is less than three quarters of the median volume, as where nnU-Net
/// normalises within the mask, and nearly no case loses foreground. None where they are not.
pub(super) fn crop(fingerprint: &Fingerprint) -> Option<Crop> {
    let masked = fingerprint.median(|case| case.inside.share()) < MASKED;
    let kept = share(fingerprint, |case| case.lost[1] == 0);
    (masked && kept >= NEARLY_ALL).then_some(Crop::Nonzero)
}

fn reason_of_crop(fingerprint: &Fingerprint) -> String {
    let outside = |percent: f64| 100.0 * fingerprint.percentile(percent, |case| 1.0 - case.inside.share());
    let mut text = format!(
        "zeros are a mask: {:.0} % of the voxels of the median case lie outside of the box of non-zero voxels ({:.0} to {:.0} %), \
         more than {:.0} %.",
        outside(50.0),
        outside(0.0),
        outside(100.0),
        100.0 * (1.0 - MASKED)
    );
    let lost = fingerprint.cases.iter().filter(|case| case.lost[1] > 0);
    let names: Vec<&str> = lost.map(|case| case.name.as_str()).collect();
    if let Some(first) = names.first() {
        text += &format!(" Foreground outside of it is not learnt: in {} cases, {first} the first.", names.len());
    }
    text
}

/// `[data]` besides spacing and patch: of the data set as it is, and as the network sees it.
pub(super) fn data(design: &mut Design, (whole, fingerprint): (&Fingerprint, &Fingerprint)) {
    if let Some(crop) = crop(whole) {
        design.config.data.crop = crop;
        design.because("data.crop", reason_of_crop(whole));
    }
    let (normalisation, reason) = normalisation(whole);
    design.config.data.normalisation = normalisation;
    design.because("data.normalisation", reason);
    let crate::data::TargetSpacing::Millimetres(spacing) = design.config.data.spacing else { return };
    let median = fingerprint.median_extents(spacing);
    let whole = (0..3).all(|axis| design.patch[axis] >= median[axis]);
    let held = share(fingerprint, |case| is_held(case, design.patch, spacing));
    let voxels: usize = median.iter().product();
    let foreground = 100.0 * fingerprint.median(|case| case.foreground);
    let (sampling, reason) = match whole {
        true if held >= NEARLY_ALL => (
            Sampling::Whole,
            format!("the patch is the median volume, and {:.0} % of the cases have all labels in it.", 100.0 * held),
        ),
        true => (
            Sampling::Patch,
            format!(
                "the patch is the median volume, but only {:.0} % of the cases have all labels in it, less than {:.0} %.",
                100.0 * held,
                100.0 * NEARLY_ALL
            ),
        ),
        false => (
            Sampling::Patch,
            format!(
                "a patch is {:.0} % of the median volume.",
                100.0 * design.patch.iter().product::<usize>() as f64 / voxels as f64
            ),
        ),
    };
    design.config.data.sampling = sampling;
    design.because("data.sampling", reason);
    design.because(
        "data.foreground",
        format!(
            "share of patches on a labelled voxel, nnU-Net's third: {foreground:.2} % of the median case are labelled."
        ),
    );
    if !fingerprint.activation.is_softmax() && design.config.data.sampling == Sampling::Patch {
        design.config.data.foreground_by = ForegroundBy::Region;
        design.because(
            "data.foreground_by",
            "as nnU-Net: each region is centred equally often, since what is learnt are regions, and a small one lies within larger.",
        );
    }
    let count = fingerprint.cases.iter().map(|case| case.class_mm3.len()).max().unwrap_or(0);
    let classes: Vec<String> = (1..count)
        .map(|class| format!("{:.0}", fingerprint.median(|case| case.class_mm3.get(class).copied().unwrap_or(0.0))))
        .collect();
    design.because(
        "training.loss",
        format!(
            "Dice weighs a small class like a large one (medians of {} mm³ for classes 1 to {}); cross-entropy keeps a \
             gradient where everything is background.",
            classes.join(", "),
            count.saturating_sub(1)
        ),
    );
}

/// Whether samples are augmented: by the views of each case at the nominal speed.
pub(super) fn augmentation(design: &mut Design, fingerprint: &Fingerprint, budget: &Budget, shape: &Shape) {
    let samples = budget.minutes * 60.0 / shape.seconds * shape.batch as f64;
    let views = samples / (samples_wanted(fingerprint.cases.len()) / 10.0);
    design.config.augmentation.enabled = views >= VIEWS;
    design.because(
        "augmentation.enabled",
        format!(
            "each training case is seen about {views:.0} times; from {VIEWS:.0} on a network begins to know them by heart. \
             Kinds and ranges are preset small's (nnU-Net's)."
        ),
    );
}

/// `[training]` besides length, batch and loss.
pub(super) fn training(design: &mut Design) {
    design.config.training.ema_decay = 0.0;
    design.because("training.ema_decay", "0: no averaged weights; 0.99 averages about the last hundred steps.");
    design.config.training.patience = 0;
    design
        .because("training.patience", "0: no early stopping, since the schedule ends in small steps that still gain.");
    design.config.training.loader_threads = Threads::AUTO;
    design.because("training.loader_threads", "one per core, which sleep when enough batches are ready.");
}

/// `[optimiser]` and `[schedule]`.
pub(super) fn optimiser(design: &mut Design) {
    design.config.optimiser.learning_rate = LEARNING_RATE;
    design.because(
        "optimiser.kind",
        "Adam scales each weight's step: in minutes it learns more than nnU-Net's SGD at 0.01, which is made for days.",
    );
    design.because("optimiser.learning_rate", "that of the measurements on hippocampus (docs/recipe.md).");
    design.because("optimiser.weight_decay", "0, as in the presets for Adam.");
    design.because("optimiser.clip_norm", "nnU-Net's 12: one odd patch does not throw the weights.");
    design.because("schedule.kind", "poly, as nnU-Net: down to 0 at the last step.");
    design.because("schedule.power", "nnU-Net's.");
    design.because("schedule.warm_up", "steps that rise from 0: the head's first gradients are the largest.");
}
