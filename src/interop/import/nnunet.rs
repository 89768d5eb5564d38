//! U-Nets with the names of `dynamic-network-architectures`, which are this program's as well: `ResidualEncoderUNet` and
//! `PlainConvUNet`, as nnU-Net stores them; and MONAI's `DynUNet` of basic blocks, which is a plain one by other names.
//!
//! The network follows from names and shapes. What is stored twice (`all_modules`, `decoder.encoder`) is read once, biases before
//! a normalisation of each channel have no effect and are left out, and the last of `decoder.seg_layers` is the head.

use super::Mapped;
use super::own::differences;
use super::read::StateDict;
use crate::interop::InteropError;
use crate::nn::model::{Tensor, parameter_shapes};
use crate::nn::unet::{Encoder, UNet};
use crate::nn::{Activation, Architecture, Model, Network, Norm};
use std::collections::BTreeMap;
use std::path::Path;

/// Whether the tensors are a U-Net's.
pub(super) fn is_unet(tensors: &BTreeMap<String, Tensor>) -> bool {
    encoder_of(tensors).is_some()
}

fn encoder_of(tensors: &BTreeMap<String, Tensor>) -> Option<Encoder> {
    let has = |name: &str| tensors.contains_key(name);
    match () {
        () if has("encoder.stem.convs.0.conv.weight") => Some(Encoder::Residual),
        () if has("encoder.stages.0.0.convs.0.conv.weight") => Some(Encoder::Plain),
        () => None,
    }
}

/// The U-Net.
pub(super) fn model(path: &Path, state: &StateDict, title: &'static str) -> Result<Mapped, InteropError> {
    let mut tensors: BTreeMap<String, Tensor> = (state.tensors.iter())
        .filter(|(name, _)| !name.starts_with("decoder.encoder.") && !name.contains(".all_modules."))
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    let network = network(&mut tensors);
    let wrong = |differences| Err(InteropError::Differences { path: path.to_owned(), layout: title, differences });
    if let Err(problem) = network.validate() {
        return wrong(vec![problem.to_string()]);
    }
    let found = differences(&parameter_shapes(&network), &tensors);
    if !found.is_empty() {
        return wrong(found);
    }
    let note = "the state dictionary does not say which activation the network has: it is taken for LeakyReLU of slope 0.01, as is \
                the default there; --nonlinearity names another";
    Ok(Mapped { model: Model { network, preprocessing: None, tensors }, notes: vec![note.to_owned()] })
}

/// The network whose tensors these are, as far as their names and shapes say; completes them where they say the same otherwise.
fn network(tensors: &mut BTreeMap<String, Tensor>) -> Network {
    let encoder = encoder_of(tensors).unwrap_or(Encoder::Plain);
    let count = |tensors: &BTreeMap<String, Tensor>, name: &dyn Fn(usize) -> String| {
        (0..).take_while(|&i| tensors.contains_key(&name(i))).count()
    };
    let first = |level: usize, block: usize| match encoder {
        Encoder::Residual => format!("encoder.stages.{level}.blocks.{block}.conv1.conv.weight"),
        Encoder::Plain => format!("encoder.stages.{level}.0.convs.{block}.conv.weight"),
    };
    let levels = count(tensors, &|level| first(level, 0));
    let blocks: Vec<usize> = (0..levels).map(|level| count(tensors, &|block| first(level, block))).collect();
    let last = levels.saturating_sub(2);
    let units =
        |level: usize| count(tensors, &|unit| format!("decoder.stages.{}.convs.{unit}.conv.weight", last - level));
    let decoder: Vec<usize> = (0..levels.saturating_sub(1)).map(units).collect();
    let shape = |name: &str| tensors.get(name).map_or(&[][..], |tensor| &tensor.shape);
    let spatial = |shape: &[usize]| shape.get(2..5).map_or([1; 3], |axes| [axes[0], axes[1], axes[2]]);
    let channels: Vec<usize> = (0..levels).map(|level| shape(&first(level, 0)).first().copied().unwrap_or(0)).collect();
    let kernels: Vec<[usize; 3]> = (0..levels).map(|level| spatial(shape(&first(level, 0)))).collect();
    let up = |level: usize| spatial(shape(&format!("decoder.transpconvs.{}.weight", levels - 1 - level)));
    let strides: Vec<[usize; 3]> = (0..levels).map(|level| if level == 0 { [1; 3] } else { up(level) }).collect();
    let in_channels = match encoder {
        Encoder::Residual => shape("encoder.stem.convs.0.conv.weight"),
        Encoder::Plain => shape(&first(0, 0)),
    };
    let in_channels = in_channels.get(1).copied().unwrap_or(0);

    let mut unet = UNet { encoder, ..UNet::residual(&blocks) };
    (unet.features, unet.most_features) =
        (channels.first().copied().unwrap_or(0), channels.iter().copied().fold(1, usize::max));
    let default = if encoder == Encoder::Residual { 1 } else { 2 };
    if decoder.iter().any(|&units| units != default) {
        unet.decoder_units = decoder;
    }
    if kernels.iter().any(|kernel| *kernel != [3; 3]) {
        unet.options.kernels = kernels;
    }
    if strides.iter().skip(1).any(|stride| *stride != [2; 3]) {
        unet.options.strides = strides;
    }
    let has = |part: &str| tensors.keys().any(|name| name.ends_with(part));
    unet.options.normalisation = match (has(".norm.running_mean"), has(".norm.weight")) {
        (true, _) => Norm::Batch,
        (false, true) => Norm::Instance,
        (false, false) => Norm::None,
    };
    heads(tensors, last);
    let auxiliary = (0..last).filter(|s| tensors.contains_key(&format!("decoder.seg_layers.{s}.weight"))).count();
    unet.options.deep_supervision = auxiliary > 0 && auxiliary == last;
    if !unet.options.deep_supervision {
        // Heads of some of the resolutions are for training alone.
        tensors.retain(|name, _| !name.starts_with("decoder.seg_layers."));
    }
    biases(tensors, &unet);
    let outputs = tensors.get("head.weight").and_then(|head| head.shape.first()).copied().unwrap_or(0);
    let activation = if outputs == 1 { Activation::Sigmoid } else { Activation::Softmax };
    Network::new(in_channels, outputs, unet).with_activation(activation)
}

/// The last of the segmentation layers is the head.
fn heads(tensors: &mut BTreeMap<String, Tensor>, last: usize) {
    for part in ["weight", "bias"] {
        if let Some(tensor) = tensors.remove(&format!("decoder.seg_layers.{last}.{part}")) {
            tensors.insert(format!("head.{part}"), tensor);
        }
    }
}

/// Leaves out the biases that the network lacks, where a normalisation takes them away, and adds zeros where it has some that the
/// tensors lack.
fn biases(tensors: &mut BTreeMap<String, Tensor>, unet: &UNet) {
    if unet.options.normalisation == Norm::Instance {
        tensors.retain(|name, _| !name.ends_with(".conv.bias"));
    }
    if unet.check(1).is_err() {
        return;
    }
    let is_weight = |name: &&String| name.ends_with(".conv.weight") || name.starts_with("decoder.transpconvs.");
    let modules: Vec<String> =
        tensors.keys().filter(is_weight).filter_map(|name| Some(name.strip_suffix(".weight")?.to_owned())).collect();
    for module in modules {
        let is_transposed = module.starts_with("decoder.transpconvs.");
        let is_shortcut = module.contains(".skip.") && unet.options.normalisation != Norm::Batch;
        let has_bias = is_transposed || (unet.options.normalisation != Norm::Instance && !is_shortcut);
        if let (true, Some(&channels)) =
            (has_bias, tensors[&format!("{module}.weight")].shape.get(usize::from(is_transposed)))
        {
            let zeros = || Tensor { shape: vec![channels], data: vec![0.0; channels] };
            tensors.entry(format!("{module}.bias")).or_insert_with(zeros);
        }
    }
}

/// The names of MONAI's `DynUNet`, of which the blocks are basic ones, as those of a plain U-Net; `None` where it is none.
pub(super) fn renamed_dynunet(state: &StateDict) -> Option<StateDict> {
    let tensors = &state.tensors;
    if !tensors.contains_key("input_block.conv1.conv.weight") || !tensors.contains_key("bottleneck.conv1.conv.weight") {
        return None;
    }
    let down = (0..).take_while(|i| tensors.contains_key(&format!("downsamples.{i}.conv1.conv.weight"))).count();
    let rename = |name: &String| -> String {
        let block = |rest: &str| -> String {
            let unit = rest.replace("conv1.conv", "0.conv").replace("conv2.conv", "1.conv");
            format!("convs.{}", unit.replace("norm1", "0.norm").replace("norm2", "1.norm"))
        };
        let numbered = |rest: &str| -> Option<(usize, String)> {
            let (number, rest) = rest.split_once('.')?;
            Some((number.parse().ok()?, rest.to_owned()))
        };
        let found = match name.split_once('.') {
            Some(("input_block", rest)) => Some(format!("encoder.stages.0.0.{}", block(rest))),
            Some(("bottleneck", rest)) => Some(format!("encoder.stages.{}.0.{}", down + 1, block(rest))),
            Some(("downsamples", rest)) => {
                numbered(rest).map(|(i, rest)| format!("encoder.stages.{}.0.{}", i + 1, block(&rest)))
            }
            Some(("upsamples", rest)) => numbered(rest).map(|(i, rest)| match rest.split_once('.') {
                Some(("transp_conv", rest)) => format!("decoder.transpconvs.{i}.{}", rest.replace("conv.", "")),
                Some((_, rest)) => format!("decoder.stages.{i}.{}", block(rest)),
                None => rest,
            }),
            Some(("output_block", rest)) => Some(format!("head.{}", rest.replace("conv.conv.", ""))),
            // The first is that of the second highest resolution.
            Some(("deep_supervision_heads", rest)) => numbered(rest)
                .filter(|(i, _)| *i < down)
                .map(|(i, rest)| format!("decoder.seg_layers.{}.{}", down - 1 - i, rest.replace("conv.conv.", ""))),
            _ => None,
        };
        found.unwrap_or_else(|| name.clone())
    };
    let is_twin = |name: &str| name.starts_with("skip_layers.") || name.starts_with("heads.");
    let renamed =
        tensors.iter().filter(|(name, _)| !is_twin(name)).map(|(name, tensor)| (rename(name), tensor.clone()));
    Some(StateDict { tensors: renamed.collect(), metadata: state.metadata.clone(), about: None })
}
