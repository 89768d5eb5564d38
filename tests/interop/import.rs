//! State dictionaries in every known layout, whole and broken.

use super::{model, network, tensors};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use vnet_engine::interop::{Imported, InteropError, Layout, import};
use vnet_engine::nn::model::{Tensor, write_tensors};
use vnet_engine::nn::vnet::{Style, VNet};
use vnet_engine::nn::{Activation, Model, Network, Norm};

pub const TESTS: [(&str, bool, fn()); 7] = [
    ("names_of_this_program_give_the_network", false, own_names),
    ("names_without_a_projection_get_one", false, own_names_without_a_projection),
    ("every_tensor_that_does_not_fit_is_told_of", false, own_differences),
    ("a_model_of_this_program_keeps_its_preprocessing", false, own_model),
    ("a_damaged_archive_and_a_bare_pickle_are_told_of", false, pickle),
    ("a_vnet_of_monai_is_one_in_its_style", false, monai),
    ("what_makes_a_foreign_vnet_another_network_is_named", false, foreign_differences),
];

type Tensors = BTreeMap<String, Tensor>;

fn read(tensors: &Tensors) -> Result<Imported, InteropError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.safetensors");
    write_tensors(&path, tensors, HashMap::new()).expect("written");
    import(&path)
}

fn prefixed(tensors: &Tensors, prefix: &str) -> Tensors {
    tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
}

fn own_names() {
    let paper_like = Network::new(1, 2, VNet { base: 1, encoder: vec![1, 2, 3, 3, 3], decoder: vec![1, 2, 3, 3] });
    let of =
        |channels, outputs| Network::new(channels, outputs, VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] });
    // A single output is a region.
    let region = of(4, 1).with_activation(Activation::Sigmoid);
    for network in [network(), paper_like, of(3, 2), of(5, 3), region] {
        let tensors = tensors(&network);
        for prefix in ["", "module.", "model.module."] {
            let imported = read(&prefixed(&tensors, prefix)).expect("it fits");
            assert_eq!((imported.layout, &imported.model.network), (Layout::Names, &network), "{prefix}");
            assert_eq!(imported.model.tensors, tensors);
            assert_eq!(imported.model.preprocessing, None);
        }
    }
}

/// A dictionary of an earlier version, which repeated any number of channels, gets the projection that does the same.
fn own_names_without_a_projection() {
    let network = Network::new(3, 2, VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] });
    let mut tensors = tensors(&network);
    tensors.retain(|name, _| !name.starts_with("encoder.0.project"));
    let found = read(&tensors).expect("it fits").model;
    assert_eq!(found.network, network);
    let repeats = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    assert_eq!(found.tensors["encoder.0.project.weight"].data, repeats);
    assert_eq!(found.tensors["encoder.0.project.bias"].data, [0.0; 4]);
    // And so does a model file.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    Model { tensors, ..found.clone() }.write(&path).expect("written");
    assert_eq!(Model::read(&path).expect("read"), found);
}

/// The differences that are told of.
fn differences(tensors: &Tensors) -> Vec<String> {
    match read(tensors) {
        Err(InteropError::Differences { differences, .. }) => differences,
        other => panic!("{other:?}"),
    }
}

fn own_differences() {
    let mut broken = tensors(&network());
    broken.remove("decoder.0.up.bias");
    broken.insert("encoder.0.bn.weight".to_owned(), Tensor { shape: vec![4], data: vec![1.0; 4] });
    broken.insert("encoder.1.down_act.weight".to_owned(), Tensor { shape: vec![1], data: vec![0.25] });
    assert_eq!(
        differences(&broken),
        [
            "decoder.0.up.bias is missing, expected [4]",
            "encoder.1.down_act.weight is [1], expected [8]",
            "encoder.0.bn.weight is not part of the network",
        ]
    );
    let error = read(&broken).expect_err("broken").to_string();
    assert!(error.contains("state.safetensors") && error.contains("3 differences") && !error.contains('\n'), "{error}");

    let mut broken = tensors(&network());
    broken.get_mut("head.bias").expect("there").data[1] = f32::NAN;
    assert!(read(&broken).expect_err("NaN").to_string().contains("tensor head.bias: element 1 is NaN"));
    let error = read(&prefixed(&tensors(&network()), "other.")).expect_err("unknown").to_string();
    assert!(error.contains("no known network") && error.contains("other.decoder.0.act.0.weight"), "{error}");
}

fn own_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, model) = (folder.path().join("model.safetensors"), model(network()));
    model.write(&path).expect("written");
    assert_eq!(import(&path).expect("it fits"), Imported { model, layout: Layout::Model, notes: Vec::new() });
}

/// What is no archive of torch.save, or a damaged one, is told of.
fn pickle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes, words) in [
        ("a.pt", &b"PK\x03\x04rest of an archive"[..], "it is cut off"),
        ("b.pth", &b"\x80\x02}q\x00."[..], "a bare pickle"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let error = import(&path).expect_err("a pickle").to_string();
        for word in [name, "expected a file of torch.save", words] {
            assert!(error.contains(word), "{word} is not in {error}");
        }
    }
    let error = import(Path::new("/nowhere/a.safetensors")).expect_err("no file").to_string();
    assert!(error.contains("/nowhere/a.safetensors: cannot read"), "{error}");
}

/// A V-Net in the style of MONAI's, with batch normalisation and PReLU.
fn monais() -> Network {
    let mut variant = five_levels().variant();
    variant.style = Style::Monai;
    variant.options.normalisation = Norm::Batch;
    Network::new(1, 3, variant)
}

/// Five levels, as MONAI's.
fn five_levels() -> VNet {
    VNet { base: 2, encoder: vec![1, 1, 2, 3, 2], decoder: vec![1, 1, 2, 2] }
}

/// A name of this program's tensors as MONAI's.
fn foreign_name(own: &str) -> String {
    let block = |module: &str, rest: &str| {
        let rest = rest.replacen("conv.", "conv_block.conv.", 1).replacen("norm.", "conv_block.adn.N.", 1);
        format!("{module}.{}", rest.replacen("act.", "act_function.", 1))
    };
    let parts: Vec<&str> = own.split('.').collect();
    match parts[..] {
        ["head", part] => format!("out_tr.conv2.{part}"),
        ["output", "act", part] => format!("out_tr.act_function1.{part}"),
        ["output", layer, part] => block("out_tr", &format!("{layer}.{part}")),
        ["encoder", "0", layer, _, part] => block("in_tr", &format!("{layer}.{part}")),
        [side, level, ref rest @ ..] => {
            let (kind, first) = if side == "encoder" { ("down", 1) } else { ("up", 0) };
            let level: usize = level.parse().expect("a level");
            let module = format!("{kind}_tr{}", 32 << (level - first));
            match *rest {
                [layer, j, part] => block(&format!("{module}.ops.{j}"), &format!("{layer}.{part}")),
                ["sum_act", part] => format!("{module}.act_function2.{part}"),
                [layer, part] if layer == kind => format!("{module}.{kind}_conv.{part}"),
                [layer, part] if layer.ends_with("_norm") => format!("{module}.bn1.{part}"),
                [_, part] => format!("{module}.act_function1.{part}"),
                _ => panic!("{own}"),
            }
        }
        _ => panic!("{own}"),
    }
}

fn as_monai(own: &Tensors) -> Tensors {
    own.iter().map(|(name, tensor)| (foreign_name(name), tensor.clone())).collect()
}

fn monai() {
    let own = tensors(&monais());
    let whole = as_monai(&own);
    assert!(whole.contains_key("up_tr128.ops.1.conv_block.adn.N.running_var"));
    let imported = read(&whole).expect("it is a V-Net");
    assert_eq!((imported.layout, &imported.model.network), (Layout::Monai, &monais()));
    assert_eq!((imported.model.tensors, imported.notes), (own.clone(), Vec::<String>::new()));
    // Without slopes it is taken for ELU, and a bias that is not there is zero.
    let mut bare = whole.clone();
    bare.retain(|name, _| !name.contains("act_function") && name != "down_tr32.down_conv.bias");
    let imported = read(&bare).expect("it is a V-Net");
    assert!(imported.notes[0].contains("taken for ELU"), "{:?}", imported.notes);
    assert_eq!(imported.model.network.setting("nonlinearity"), Some("elu".into()));
    assert_eq!(imported.model.tensors["encoder.1.down.bias"].data, [0.0; 4]);
}

fn foreign_differences() {
    let whole = as_monai(&tensors(&monais()));
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = whole.clone();
        change(&mut tensors);
        differences(&tensors)
    };
    assert_eq!(changed(&|t| drop(t.remove("up_tr32.bn1.running_var"))), ["up_tr32.bn1.running_var is missing"]);
    let head = |shape: &[usize]| {
        let tensor = Tensor { shape: shape.to_vec(), data: vec![0.5; shape.iter().product()] };
        changed(&|t| drop(t.insert("out_tr.conv2.weight".to_owned(), tensor.clone())))
    };
    assert_eq!(head(&[3, 3, 3, 3, 3]), ["head.weight is [3, 3, 3, 3, 3], expected [3, 3, 1, 1, 1]"]);
    assert_eq!(
        head(&[3, 0, 1, 1, 1]),
        ["out_tr.conv2.weight is [3, 0, 1, 1, 1], expected five axes, none of them empty"]
    );
    let extra = Tensor { shape: vec![1], data: vec![1.0] };
    let found = changed(&|t| drop(t.insert("up_tr32.gate.weight".to_owned(), extra.clone())));
    assert_eq!(found, ["up_tr32.gate.weight is not part of it"]);

    // vnet.pytorch: names of its own, and a normalisation by the statistics of the image at hand, which is that of an instance.
    let rename = |name: &str| {
        let name = name.replace("conv_block.conv", "conv1").replace("conv_block.adn.N", "bn1");
        name.replace("act_function2", "relu2").replace("act_function1", "relu1").replace("act_function", "relu1")
    };
    let macy: Tensors = whole.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect();
    let imported = read(&macy).expect("it is a V-Net");
    assert_eq!(imported.layout, Layout::VnetPytorch);
    assert_eq!(imported.model.network.setting("normalisation"), Some("instance".into()));
    let is_kept = |name: &str| {
        !name.contains(".running_") && (!name.ends_with(".bias") || name.contains("norm") || name == "head.bias")
    };
    let kept = tensors(&monais()).into_iter().filter(|(name, _)| is_kept(name)).collect::<Tensors>();
    assert_eq!(imported.model.tensors, kept);
}
