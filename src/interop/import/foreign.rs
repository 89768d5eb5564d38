//! V-Nets of MONAI (`monai/networks/nets/vnet.py`) and of vnet.pytorch (`vnet.py`, github.com/mattmacy/vnet.pytorch), which
//! MONAI's descends from.
//!
//! | part | there | V-Net |
//! |---|---|---|
//! | after each convolution | batch normalisation | nothing; MONAI's is folded in, as it is in evaluation |
//! | activations | ELU, ReLU or PReLU | PReLU |
//! | last convolution of a stage | activation, then the addition, then another one | the addition, then a PReLU |
//! | head | 5x5x5 convolution, normalisation, activation, 1x1x1 convolution | 1x1x1 convolution |
//!
//! So a network is a V-Net only where the activations that V-Net lacks have slopes of 1, and where the 5x5x5 kernel of the head
//! is zero but for its middle tap. The error names every tensor that differs.

use super::fold::{Convolution, vector};
use super::read::StateDict;
use crate::interop::InteropError;
use crate::nn::model::Tensor;
use crate::nn::vnet::VNet;
use crate::nn::{Model, Network};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules below a level, deepest last.
const DOWN: [&str; 4] = ["down_tr32", "down_tr64", "down_tr128", "down_tr256"];
const UP: [&str; 4] = ["up_tr32", "up_tr64", "up_tr128", "up_tr256"];

/// How a program names the parts; of several names, versions of it have one each.
pub(super) struct Names {
    title: &'static str,
    /// Convolution and its normalisation in `in_tr`, `ops.*` and `out_tr`.
    convolution: &'static [(&'static str, &'static str)],
    /// Activations of `in_tr` and `ops.*`.
    activation: &'static [&'static str],
    /// Activation of `down_tr*` and `up_tr*` after their first convolution, and of `out_tr`.
    first: &'static str,
    /// Activation after the addition.
    second: &'static str,
    /// Whether the normalisation uses the stored statistics in evaluation.
    stored_statistics: bool,
}

pub(super) const MONAI: Names = Names {
    title: "MONAI's VNet",
    convolution: &[("conv_block.conv", "conv_block.adn.N"), ("conv_block.conv", "conv_block.norm")],
    activation: &["act_function"],
    first: "act_function1",
    second: "act_function2",
    stored_statistics: true,
};

pub(super) const VNET_PYTORCH: Names = Names {
    title: "vnet.pytorch",
    convolution: &[("conv1", "bn1"), ("conv", "bn1")],
    activation: &["relu1", "prelu"],
    first: "relu1",
    second: "relu2",
    stored_statistics: false,
};

/// The V-Net that computes the same, if there is one.
pub(super) fn model(path: &Path, state: StateDict, names: &Names) -> Result<Model, InteropError> {
    let mut mapping =
        Mapping { names, found: &state.tensors, made: BTreeMap::new(), used: BTreeSet::new(), differences: Vec::new() };
    let network = mapping.network();
    let unknown = state.tensors.keys().filter(|name| !mapping.used.contains(*name));
    let unknown: Vec<String> = unknown.map(|name| format!("{name} is not part of it")).collect();
    mapping.differences.extend(unknown);
    let Mapping { made, differences, .. } = mapping;
    if !differences.is_empty() {
        let (path, layout) = (path.to_owned(), names.title);
        return Err(InteropError::Differences { path, layout, differences });
    }
    Ok(Model { network, preprocessing: None, tensors: made })
}

struct Mapping<'a> {
    names: &'a Names,
    found: &'a BTreeMap<String, Tensor>,
    made: BTreeMap<String, Tensor>,
    used: BTreeSet<String>,
    differences: Vec<String>,
}

impl Mapping<'_> {
    fn network(&mut self) -> Network {
        self.block("in_tr", "encoder.0.conv.0");
        let activation = format!("in_tr.{}", self.name_of("in_tr", self.names.activation));
        self.slopes(&activation, "encoder.0.act.0", "encoder.0.conv.0");
        let mut encoder = vec![1];
        for (level, module) in (1..).zip(DOWN) {
            let stage = format!("encoder.{level}");
            self.resampling(&format!("{module}.down_conv"), module, &stage, "down");
            encoder.push(self.stage(module, &stage));
        }
        let mut decoder = Vec::new();
        for (level, module) in UP.into_iter().enumerate() {
            let stage = format!("decoder.{level}");
            self.resampling(&format!("{module}.up_conv"), module, &stage, "up");
            decoder.push(self.stage(module, &stage));
        }
        self.head();
        let extent = |name: &str, axis: usize| self.made.get(name).map_or(0, |t| t.shape[axis]);
        let first = "encoder.0.conv.0.weight";
        Network::new(extent(first, 1), extent("head.weight", 0), VNet { base: extent(first, 0), encoder, decoder })
    }

    /// The name that this state dictionary has of those that versions of the program use.
    fn name_of(&self, module: &str, names: &[&'static str]) -> &'static str {
        let present = |name: &&&str| self.has(&format!("{module}.{name}"));
        names.iter().find(present).unwrap_or(&names[0])
    }

    fn has(&self, module: &str) -> bool {
        self.found.contains_key(&format!("{module}.weight"))
    }

    /// Notes that the tensors of a module have been read.
    fn mark(&mut self, module: &str) {
        let prefix = format!("{module}.");
        self.used.extend(self.found.keys().filter(|name| name.starts_with(&prefix)).cloned());
    }

    /// A 5x5x5 convolution with its normalisation.
    fn block(&mut self, module: &str, to: &str) {
        if let Some(convolution) = self.read_block(module) {
            convolution.store(&mut self.made, to);
        }
    }

    fn read_block(&mut self, module: &str) -> Option<Convolution> {
        let at = |name: &str| format!("{module}.{name}");
        let fits = |(convolution, norm): &&(&str, &str)| self.has(&at(convolution)) && self.has(&at(norm));
        let known = self.names.convolution;
        let bare = || known.iter().find(|(convolution, _)| self.has(&at(convolution))).unwrap_or(&known[0]);
        let (convolution, norm) = known.iter().find(fits).unwrap_or_else(bare);
        self.convolution(&at(convolution), &at(norm), false)
    }

    fn convolution(&mut self, name: &str, norm: &str, transposed: bool) -> Option<Convolution> {
        self.mark(name);
        self.mark(norm);
        let mut read = Convolution::read(self.found, name, transposed);
        if self.has(norm) && !self.names.stored_statistics {
            self.differences.push(format!(
                "{norm} normalises with the statistics of the image at hand (ContBatchNorm3d), which no weights can replace"
            ));
        } else if self.has(norm)
            && let Ok(convolution) = &mut read
            && let Err(difference) = convolution.normalise(self.found, norm)
        {
            self.differences.push(difference);
        }
        read.map_err(|difference| self.differences.push(difference)).ok()
    }

    /// The convolution that halves or doubles the extents, and its activation.
    fn resampling(&mut self, name: &str, module: &str, stage: &str, kind: &str) {
        let to = format!("{stage}.{kind}");
        if let Some(convolution) = self.convolution(name, &format!("{module}.bn1"), kind == "up") {
            convolution.store(&mut self.made, &to);
        }
        let activation = format!("{module}.{}", self.names.first);
        self.slopes(&activation, &format!("{to}_act"), &to);
    }

    /// The 5x5x5 convolutions below a module; returns their number.
    fn stage(&mut self, module: &str, stage: &str) -> usize {
        let prefix = |j: usize| format!("{module}.ops.{j}.");
        let present =
            |j: &usize| self.found.range(prefix(*j)..).next().is_some_and(|(n, _)| n.starts_with(&prefix(*j)));
        let count = (0..).take_while(present).count();
        if count == 0 {
            self.differences.push(format!("{module}.ops has no convolutions"));
        }
        for j in 0..count {
            let op = format!("{module}.ops.{j}");
            let convolution = format!("{stage}.conv.{j}");
            self.block(&op, &convolution);
            let activation = format!("{op}.{}", self.name_of(&op, self.names.activation));
            if j + 1 < count {
                self.slopes(&activation, &format!("{stage}.act.{j}"), &convolution);
                continue;
            }
            self.identity(&activation, "before the addition");
            let second = format!("{module}.{}", self.names.second);
            self.slopes(&second, &format!("{stage}.act.{j}"), &convolution);
        }
        count
    }

    /// The slopes of the PReLU that follows `convolution`; a single one counts for every channel.
    fn slopes(&mut self, activation: &str, to: &str, convolution: &str) {
        self.mark(activation);
        let channels = self.made.get(&format!("{convolution}.bias")).map(|bias| bias.data.len());
        let slopes = vector(self.found, &format!("{activation}.weight"));
        let (Some(slopes), Some(channels)) = (slopes, channels) else {
            if channels.is_some() {
                self.differences.push(format!("{activation} has no slopes (ELU or ReLU), expected a PReLU"));
            }
            return;
        };
        let data: Vec<f32> = match slopes.as_slice() {
            [one] => vec![*one as f32; channels],
            all => all.iter().map(|&slope| slope as f32).collect(),
        };
        self.made.insert(format!("{to}.weight"), Tensor { shape: vec![data.len()], data });
    }

    /// Checks that an activation which V-Net does not have is the identity.
    fn identity(&mut self, activation: &str, place: &str) -> bool {
        self.mark(activation);
        let slopes = vector(self.found, &format!("{activation}.weight"));
        if slopes.as_ref().is_some_and(|slopes| slopes.iter().all(|&slope| slope == 1.0)) {
            return true;
        }
        let kind = slopes.map_or("an activation without slopes", |_| "a PReLU with slopes other than 1");
        self.differences.push(format!("{activation} is {kind} {place}, where V-Net has none"));
        false
    }

    fn head(&mut self) {
        self.mark("out_tr.conv2");
        let first = self.read_block("out_tr");
        let activation = format!("out_tr.{}", self.names.first);
        let linear = self.identity(&activation, "in the head");
        let second = Convolution::read(self.found, "out_tr.conv2", false);
        let second = second.map_err(|difference| self.differences.push(difference)).ok();
        let (Some(first), Some(second)) = (first, second) else { return };
        let (expected, found) = ([second.shape[0], first.shape[0], 1, 1, 1], &second.shape);
        if found[..] != expected {
            self.differences.push(format!("out_tr.conv2.weight is {found:?}, expected {expected:?}"));
            return;
        }
        match first.then_point(&second) {
            Some(head) if linear => head.store(&mut self.made, "head"),
            Some(_) => {}
            None => self.differences.push("out_tr has a 5x5x5 convolution, where V-Net's head is 1x1x1".to_owned()),
        }
    }
}
