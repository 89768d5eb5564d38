//! V-Nets of MONAI (`monai/networks/nets/vnet.py`) and of vnet.pytorch (`vnet.py`, github.com/mattmacy/vnet.pytorch), from which
//! MONAI's descends: the kind `vnet` in the style of MONAI.
//!
//! | part | there | here |
//! |---|---|---|
//! | MONAI's normalisation | that of the batch, with running statistics | the same |
//! | vnet.pytorch's | that of the batch, always with statistics of the image at hand | that of each channel of a sample |
//! | biases before a normalisation of each channel | without effect | left out |
//! | activations | PReLU, or one without parameters, which a state dictionary does not name | PReLU, or ELU, their default |

use super::Mapped;
use super::own::differences;
use super::read::StateDict;
use crate::interop::InteropError;
use crate::nn::model::{Tensor, parameter_shapes};
use crate::nn::vnet::{Style, VNet};
use crate::nn::{Model, Network, Nonlinearity, Norm};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules below a level, deepest last.
const DOWN: [&str; 7] =
    ["down_tr32", "down_tr64", "down_tr128", "down_tr256", "down_tr512", "down_tr1024", "down_tr2048"];
const UP: [&str; 7] = ["up_tr32", "up_tr64", "up_tr128", "up_tr256", "up_tr512", "up_tr1024", "up_tr2048"];

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
    /// The normalisation.
    normalisation: Norm,
}

pub(super) const MONAI: Names = Names {
    title: "MONAI's VNet",
    convolution: &[("conv_block.conv", "conv_block.adn.N"), ("conv_block.conv", "conv_block.norm")],
    activation: &["act_function"],
    first: "act_function1",
    second: "act_function2",
    normalisation: Norm::Batch,
};

pub(super) const VNET_PYTORCH: Names = Names {
    title: "vnet.pytorch",
    convolution: &[("conv1", "bn1"), ("conv", "bn1")],
    activation: &["relu1", "prelu"],
    first: "relu1",
    second: "relu2",
    normalisation: Norm::Instance,
};

/// The V-Net that computes the same.
pub(super) fn model(path: &Path, state: &StateDict, names: &Names) -> Result<Mapped, InteropError> {
    let found = &state.tensors;
    let mut mapping = Mapping::new(found, names);
    let network = mapping.network();
    let Mapping { made, used, mut problems, .. } = mapping;
    problems.extend(found.keys().filter(|name| !used.contains(*name)).map(|name| format!("{name} is not part of it")));
    if problems.is_empty()
        && let Ok(()) = network.validate()
    {
        problems = differences(&parameter_shapes(&network), &made);
    }
    if !problems.is_empty() {
        let (path, layout) = (path.to_owned(), names.title);
        return Err(InteropError::Differences { path, layout, differences: problems });
    }
    let says_no_activation = !made.contains_key("output.act.weight");
    let note = "the state dictionary does not say which activation the network has: it is taken for ELU, as is the default \
                there; --nonlinearity names another";
    let notes = says_no_activation.then(|| note.to_owned()).into_iter().collect();
    Ok(Mapped { model: Model { network, preprocessing: None, tensors: made }, notes })
}

struct Mapping<'a> {
    names: &'a Names,
    found: &'a BTreeMap<String, Tensor>,
    /// The normalisation, which a version without it lacks.
    normalisation: Norm,
    made: BTreeMap<String, Tensor>,
    used: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'a> Mapping<'a> {
    fn new(found: &'a BTreeMap<String, Tensor>, names: &'a Names) -> Self {
        let has_norm = names.convolution.iter().any(|(_, norm)| found.contains_key(&format!("in_tr.{norm}.weight")));
        let normalisation = if has_norm { names.normalisation } else { Norm::None };
        Self { names, found, normalisation, made: BTreeMap::new(), used: BTreeSet::new(), problems: Vec::new() }
    }

    fn network(&mut self) -> Network {
        self.block("in_tr", ["encoder.0.conv.0", "encoder.0.norm.0"]);
        self.slopes_of("in_tr", "encoder.0.act.0");
        let levels = DOWN.iter().take_while(|module| self.has(&format!("{module}.down_conv"))).count();
        let mut encoder = vec![1];
        for (level, module) in (1..).zip(&DOWN[..levels]) {
            encoder.push(self.stage(module, &format!("encoder.{level}"), "down"));
        }
        let decoder = (UP[..levels].iter().enumerate())
            .map(|(level, module)| self.stage(module, &format!("decoder.{level}"), "up"))
            .collect();
        self.block("out_tr", ["output.conv", "output.norm"]);
        self.slopes(&format!("out_tr.{}", self.names.first), "output.act", "output.conv");
        self.convolution("out_tr.conv2", "head", true);
        let extent = |name: &str, axis: usize| self.made.get(name).and_then(|t| t.shape.get(axis)).map_or(0, |e| *e);
        let first = "encoder.0.conv.0.weight";
        let mut variant = VNet { base: extent(first, 0), encoder, decoder }.variant();
        variant.style = Style::Monai;
        variant.options.normalisation = self.normalisation;
        let has_slopes = self.made.contains_key("output.act.weight");
        variant.options.nonlinearity = if has_slopes { Nonlinearity::Prelu } else { Nonlinearity::Elu };
        Network::new(extent(first, 1), extent("head.weight", 0), variant)
    }

    fn has(&self, module: &str) -> bool {
        self.found.contains_key(&format!("{module}.weight"))
    }

    /// A tensor, which is then used.
    fn take(&mut self, name: &str) -> Option<&'a Tensor> {
        let tensor = self.found.get(name)?;
        self.used.insert(name.to_owned());
        Some(tensor)
    }

    /// A stage: what changes the extents, convolutions, and the activation after the sum. Returns the number of convolutions.
    fn stage(&mut self, module: &str, stage: &str, kind: &str) -> usize {
        let to = format!("{stage}.{kind}");
        self.convolution(&format!("{module}.{kind}_conv"), &to, self.normalisation != Norm::Instance);
        self.norm(&format!("{module}.bn1"), &format!("{to}_norm"));
        self.slopes(&format!("{module}.{}", self.names.first), &format!("{to}_act"), &to);
        let prefix = |j: usize| format!("{module}.ops.{j}.");
        let present =
            |j: &usize| self.found.range(prefix(*j)..).next().is_some_and(|(n, _)| n.starts_with(&prefix(*j)));
        let count = (0..).take_while(present).count();
        if count == 0 {
            self.problems.push(format!("{module}.ops has no convolutions"));
        }
        for j in 0..count {
            let op = format!("{module}.ops.{j}");
            self.block(&op, [&format!("{stage}.conv.{j}"), &format!("{stage}.norm.{j}")]);
            self.slopes_of(&op, &format!("{stage}.act.{j}"));
        }
        self.slopes(
            &format!("{module}.{}", self.names.second),
            &format!("{stage}.sum_act"),
            &format!("{stage}.conv.0"),
        );
        count
    }

    /// A convolution and its normalisation.
    fn block(&mut self, module: &str, [to_convolution, to_norm]: [&str; 2]) {
        let at = |name: &str| format!("{module}.{name}");
        let known = self.names.convolution;
        let fits = |(convolution, norm): &&(&str, &str)| self.has(&at(convolution)) && self.has(&at(norm));
        let bare = || known.iter().find(|(convolution, _)| self.has(&at(convolution))).unwrap_or(&known[0]);
        let (convolution, norm) = *known.iter().find(fits).unwrap_or_else(bare);
        self.convolution(&at(convolution), to_convolution, self.normalisation != Norm::Instance);
        self.norm(&at(norm), to_norm);
    }

    /// A convolution; where it has no bias and one is needed, zeros.
    fn convolution(&mut self, name: &str, to: &str, has_bias: bool) {
        let key = format!("{name}.weight");
        let bias = self.take(&format!("{name}.bias")).cloned();
        let Some(weight) = self.take(&key) else {
            self.problems.push(format!("{key} is missing"));
            return;
        };
        if weight.shape.len() != 5 || weight.shape.contains(&0) {
            self.problems.push(format!("{key} is {:?}, expected five axes, none of them empty", weight.shape));
            return;
        }
        let channels = weight.shape[usize::from(name.ends_with("up_conv"))];
        self.made.insert(format!("{to}.weight"), weight.clone());
        if has_bias {
            let bias = bias.unwrap_or_else(|| Tensor { shape: vec![channels], data: vec![0.0; channels] });
            self.made.insert(format!("{to}.bias"), bias);
        }
    }

    /// A normalisation.
    fn norm(&mut self, name: &str, to: &str) {
        let statistics = ["running_mean", "running_var"];
        let parts: &[&str] = match self.normalisation {
            Norm::None => &[],
            Norm::Batch => &["weight", "bias", "running_mean", "running_var"],
            _ => &["weight", "bias"],
        };
        for part in parts {
            match self.take(&format!("{name}.{part}")).cloned() {
                Some(tensor) => drop(self.made.insert(format!("{to}.{part}"), tensor)),
                None => self.problems.push(format!("{name}.{part} is missing")),
            }
        }
        for part in statistics {
            self.take(&format!("{name}.{part}"));
        }
    }

    /// The slopes of the activation of a block, where it is a PReLU.
    fn slopes_of(&mut self, module: &str, to: &str) {
        let at = |name: &&&str| self.has(&format!("{module}.{name}"));
        let name = self.names.activation.iter().find(at).unwrap_or(&self.names.activation[0]);
        self.slopes(&format!("{module}.{name}"), to, &to.replace(".act.", ".conv."));
    }

    /// The slopes of the PReLU that follows `convolution`, where it is one; a single one counts for every channel.
    fn slopes(&mut self, activation: &str, to: &str, convolution: &str) {
        let Some(slopes) = self.take(&format!("{activation}.weight")) else { return };
        let weight = self.made.get(&format!("{convolution}.weight"));
        let channels = weight.map_or(slopes.data.len(), |w| w.shape[usize::from(convolution.ends_with(".up"))]);
        let data = if let [one] = slopes.data[..] { vec![one; channels] } else { slopes.data.clone() };
        self.made.insert(format!("{to}.weight"), Tensor { shape: vec![data.len()], data });
    }
}
