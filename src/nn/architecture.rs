use super::model::Tensor;
use super::{Layers, NetworkError, unet, vnet};
use crate::registry::{Entry, Registry, Value};
use crate::tensor::{ShapeError, ValueId};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// A kind of network, with its settings: what stands between the image and the logits.
///
/// Whatever else needs to know something of a network finds it here or in the graph: initial values with the parameters,
/// stages with the nodes, and layers as [`Layers`] lists them.
pub trait Architecture: Debug + Send + Sync {
    /// Its name in configurations and model files.
    fn kind(&self) -> &'static str;

    /// Its settings by key, in the order of configurations and model files.
    fn settings(&self) -> Vec<(&'static str, Value)>;

    /// The network in a few words, e.g. `V-Net base 16, 5 levels`.
    fn summary(&self) -> String;

    /// The extents `[D, H, W]` of what [`Architecture::append`] gets are multiples of this.
    fn divisor(&self) -> [usize; 3];

    /// Checks what the ranges of single settings do not say, such as lists that must agree in length.
    ///
    /// # Errors
    /// [`NetworkError`] that names the setting.
    fn check(&self, in_channels: usize) -> Result<(), NetworkError>;

    /// Appends the network on `image` `[N, D, H, W, in_channels]` and returns the logits `[N, D, H, W, classes]`.
    ///
    /// # Errors
    /// [`ShapeError`] when an operation is not defined on the shapes that come up.
    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError>;

    /// The setting, a count, with which the channels of all layers grow, where there is one: a training that does not fit the
    /// device's memory is told which smaller value would.
    fn width(&self) -> Option<&'static str> {
        None
    }

    /// Adds the parameters that files of earlier versions lack, such that the network computes what it did then. `tensors` are
    /// those of a file, in PyTorch's order.
    fn complete(&self, _in_channels: usize, _tensors: &mut BTreeMap<String, Tensor>) {}

    /// Parameters with which a projection of the image repeats its channels: what a network begins with, or is completed by,
    /// that has one. Empty where the architecture has none.
    fn projection(&self, _in_channels: usize) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// A Python module that computes the same with PyTorch: the template for `export --torch`, where there is one. Its lines
    /// `NETWORK = {}`, `PREPROCESSING = {}` and `WEIGHTS = ""` are filled in.
    fn torch_module(&self) -> Option<&'static str> {
        None
    }
}

/// The table of architectures that a configuration can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architectures;

impl Registry for Architectures {
    type Item = Arc<dyn Architecture>;
    /// Files of earlier versions do not name an architecture.
    const IMPLIED: Option<&'static str> = Some("vnet");
    const ENTRIES: &'static [Entry<Self>] = &[vnet::VNET, unet::RESIDUAL_UNET, unet::UNET];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Choice, cases, is_consistent};

    #[test]
    fn the_table_is_consistent() {
        is_consistent::<Architectures>();
        for (name, architecture) in cases::<Architectures>() {
            assert_eq!(architecture.kind(), name);
            architecture.check(1).expect("the defaults are valid");
            // What an architecture says of itself is what makes it.
            let again = Choice::<Architectures>::from(&*architecture).build();
            assert_eq!(again.settings(), architecture.settings());
            let keys: Vec<&str> = again.settings().into_iter().map(|(key, _)| key).collect();
            let own = Choice::<Architectures>::named(name);
            let setting = |width| again.settings().into_iter().find(|(key, _)| *key == width).map(|(_, value)| value);
            assert!(again.width().is_none_or(|width| matches!(setting(width), Some(Value::Whole(_)))), "{name}");
            assert_eq!(keys, own.own().map(|(key, _)| key).collect::<Vec<_>>(), "the keys of {name}, in order");
        }
    }
}
