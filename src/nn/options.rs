//! Settings that the architectures of the table share: what stands between convolutions, and kernels and strides of the levels.
//!
//! Each kind has its own defaults. In a configuration the word `default` and an empty list stand for them, so that a file stays
//! valid when only the kind changes, and the files of the paper's V-Net do not name these keys.

use super::{Architectures, Layers, NetworkError, Nonlinearity, Norm};
use crate::registry::{Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};

/// What stands between the convolutions of a network, and the geometry of its levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Normalisation behind convolutions.
    pub normalisation: Norm,
    /// Activation behind convolutions.
    pub nonlinearity: Nonlinearity,
    /// Share of the channels of a sample that a dropout sets to zero while the network is trained; 0: there is none.
    pub dropout: f32,
    /// Whether logits of lower resolutions are trained as well.
    pub deep_supervision: bool,
    /// Extents of the kernels (z, y, x), one triple per level; empty: those of the kind.
    pub kernels: Vec<[usize; 3]>,
    /// Strides (z, y, x) from the level above, one triple per level, [1, 1, 1] first; empty: 2 everywhere.
    pub strides: Vec<[usize; 3]>,
}

/// What the options of a kind are where a configuration says nothing of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Defaults {
    pub normalisation: Norm,
    pub nonlinearity: Nonlinearity,
    /// Extent of the kernels.
    pub kernel: usize,
}

/// Slope of a LeakyReLU below zero: PyTorch's.
pub const LEAKY_SLOPE: f32 = 0.01;

/// The word for what the kind has.
const DEFAULT: &str = "default";

const GROUPS: u64 = 8;

static NORMALISATION: Hyperparameter = Hyperparameter::word(
    "normalisation",
    DEFAULT,
    &[DEFAULT, "none", "instance", "group", "batch"],
    "`default`, `none`, `instance`, `group` or `batch`",
)
.later();

static GROUPS_KEY: Hyperparameter =
    Hyperparameter::whole("groups", GROUPS, "1 to 256", |value| (1..=256).contains(&value)).later();

static NONLINEARITY: Hyperparameter = Hyperparameter::word(
    "nonlinearity",
    DEFAULT,
    &[DEFAULT, "prelu", "relu", "leaky_relu", "elu"],
    "`default`, `prelu`, `relu`, `leaky_relu` or `elu`",
)
.later();

static DROPOUT: Hyperparameter =
    Hyperparameter::number("dropout", 0.0, "0 up to, not including, 1", |value| (0.0..1.0).contains(&value)).later();

static DEEP_SUPERVISION: Hyperparameter = Hyperparameter::switch("deep_supervision", false).later();

static KERNELS: Hyperparameter =
    Hyperparameter::triples("kernels", "none, or for each of at most 8 levels [z, y, x] of 1, 3 or 5", |levels| {
        levels.len() <= 8 && levels.iter().flatten().all(|extent| [1, 3, 5].contains(extent))
    })
    .later();

static STRIDES: Hyperparameter = Hyperparameter::triples(
    "strides",
    "none, or for each of at most 8 levels [z, y, x] of 1 or 2, [1, 1, 1] first and not again",
    |levels| {
        let is_plain = |level: &[u64; 3]| *level == [1; 3];
        levels.len() <= 8
            && levels.iter().flatten().all(|stride| [1, 2].contains(stride))
            && levels.first().is_none_or(is_plain)
            && !levels.iter().skip(1).any(is_plain)
    },
)
.later();

/// The keys of [`Options`].
pub(super) const KEYS: [&Hyperparameter; 7] =
    [&NORMALISATION, &GROUPS_KEY, &NONLINEARITY, &DROPOUT, &DEEP_SUPERVISION, &KERNELS, &STRIDES];

impl Options {
    /// Those of a kind where nothing is said of them.
    pub(super) fn of(defaults: Defaults) -> Self {
        let Defaults { normalisation, nonlinearity, .. } = defaults;
        let (kernels, strides) = (Vec::new(), Vec::new());
        Self { normalisation, nonlinearity, dropout: 0.0, deep_supervision: false, kernels, strides }
    }

    /// Those of a configuration.
    pub(super) fn read(values: &Hyperparameters<Architectures>, defaults: Defaults) -> Self {
        let normalisation = match values.word("normalisation") {
            "none" => Norm::None,
            "instance" => Norm::Instance,
            "group" => Norm::Group(values.count("groups")),
            "batch" => Norm::Batch,
            _ => defaults.normalisation,
        };
        let nonlinearity = match values.word("nonlinearity") {
            "prelu" => Nonlinearity::Prelu,
            "relu" => Nonlinearity::Relu,
            "leaky_relu" => Nonlinearity::LeakyRelu(LEAKY_SLOPE),
            "elu" => Nonlinearity::Elu,
            _ => defaults.nonlinearity,
        };
        let [kernels, strides] = ["kernels", "strides"].map(|key| values.triples(key));
        let (dropout, deep_supervision) = (values.number("dropout") as f32, values.switch("deep_supervision"));
        Self { normalisation, nonlinearity, dropout, deep_supervision, kernels, strides }
    }

    /// As a configuration has them, in the order of [`KEYS`].
    pub(super) fn settings(&self, defaults: Defaults) -> [(&'static str, Value); 7] {
        let groups = if let Norm::Group(groups) = self.normalisation { groups as u64 } else { GROUPS };
        let normalisation = match self.normalisation {
            own if own == defaults.normalisation => DEFAULT,
            Norm::None => "none",
            Norm::Instance => "instance",
            Norm::Group(_) => "group",
            Norm::Batch => "batch",
        };
        let nonlinearity = match self.nonlinearity {
            own if own == defaults.nonlinearity => DEFAULT,
            Nonlinearity::Prelu => "prelu",
            Nonlinearity::Relu => "relu",
            Nonlinearity::LeakyRelu(_) => "leaky_relu",
            Nonlinearity::Elu => "elu",
        };
        [
            ("normalisation", normalisation.into()),
            ("groups", groups.into()),
            ("nonlinearity", nonlinearity.into()),
            ("dropout", f64::from(self.dropout).into()),
            ("deep_supervision", self.deep_supervision.into()),
            ("kernels", self.kernels[..].into()),
            ("strides", self.strides[..].into()),
        ]
    }

    /// What the options add to the summary of a network, e.g. `, instance normalisation, leaky_relu`; nothing where they are
    /// the defaults.
    pub(super) fn summary(&self, defaults: Defaults) -> String {
        let word = |key: &str| match self.settings(defaults).into_iter().find(|(name, _)| *name == key) {
            Some((_, Value::Word(word))) if word != DEFAULT => Some(word.into_owned()),
            _ => None,
        };
        let normalisation = word("normalisation").map(|word| format!(", {word} normalisation"));
        let nonlinearity = word("nonlinearity").map(|word| format!(", {word}"));
        let thick = |key: &str, levels: &[[usize; 3]]| {
            let differs = levels.iter().any(|[z, y, x]| z != y || y != x);
            differs.then(|| format!(", {key} per axis"))
        };
        let axes = thick("strides", &self.strides).or_else(|| thick("kernels", &self.kernels));
        [normalisation, nonlinearity, axes].into_iter().flatten().collect()
    }

    /// The extents of the kernels of a level.
    pub(super) fn kernel(&self, level: usize, defaults: Defaults) -> [usize; 3] {
        self.kernels.get(level).copied().unwrap_or([defaults.kernel; 3])
    }

    /// The stride of a level from the one above.
    pub(super) fn stride(&self, level: usize) -> [usize; 3] {
        let own = self.strides.get(level).copied();
        own.unwrap_or(if level == 0 { [1; 3] } else { [2; 3] })
    }

    /// What the strides of so many levels divide.
    pub(super) fn divisor(&self, levels: usize) -> [usize; 3] {
        let strides = (0..levels).map(|level| self.stride(level));
        strides.fold([1; 3], |all, stride| std::array::from_fn(|axis| all[axis] * stride[axis]))
    }

    /// Checks that the lists have an entry per level, and that the groups divide the channels of what is normalised.
    pub(super) fn check(&self, levels: usize, channels: impl IntoIterator<Item = usize>) -> Result<(), NetworkError> {
        for (key, list) in [("kernels", &self.kernels), ("strides", &self.strides)] {
            if !list.is_empty() && list.len() != levels {
                let problem = format!("{key} has {} triples, expected one for each of {levels} levels", list.len());
                return Err(NetworkError::Settings(problem));
            }
        }
        let Norm::Group(groups) = self.normalisation else { return Ok(()) };
        match channels.into_iter().find(|channels| !channels.is_multiple_of(groups)) {
            Some(channels) => {
                let problem = format!("groups is {groups}, expected a divisor of the {channels} channels of a level");
                Err(NetworkError::Settings(problem))
            }
            None => Ok(()),
        }
    }

    /// Whether convolutions before the normalisation have a bias. That of each channel of a sample takes it away again; that of
    /// a batch does so too, but is folded into it in predictions.
    pub(super) fn has_bias(&self) -> bool {
        self.normalisation != Norm::Instance
    }

    /// The normalisation `name`, where there is one.
    pub(super) fn norm(&self, layers: &mut Layers<'_>, name: &str, x: ValueId) -> Result<ValueId, ShapeError> {
        layers.norm(name, x, self.normalisation)
    }

    /// The normalisation and the activation of these names.
    pub(super) fn norm_act(
        &self,
        layers: &mut Layers<'_>,
        names: [&str; 2],
        x: ValueId,
    ) -> Result<ValueId, ShapeError> {
        layers.norm_act(names, x, self.normalisation, self.nonlinearity)
    }

    /// The activation `name`.
    pub(super) fn activate(&self, layers: &mut Layers<'_>, name: &str, x: ValueId) -> Result<ValueId, ShapeError> {
        layers.nonlinearity(name, x, self.nonlinearity)
    }

    /// The dropout `name`, where there is one.
    pub(super) fn drop_out(&self, layers: &mut Layers<'_>, name: &str, x: ValueId) -> Result<ValueId, ShapeError> {
        if self.dropout > 0.0 { layers.dropout(name, x, self.dropout) } else { Ok(x) }
    }
}
