//! State dictionaries in every known layout, whole and broken.

use super::{model, network, noise, tensors};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use vnet_engine::interop::{Imported, InteropError, Layout, import};
use vnet_engine::nn::model::{Tensor, write_tensors};
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Activation, Model, Network};

pub const TESTS: [(&str, bool, fn()); 7] = [
    ("names_of_this_program_give_the_network", false, own_names),
    ("names_without_a_projection_get_one", false, own_names_without_a_projection),
    ("every_tensor_that_does_not_fit_is_told_of", false, own_differences),
    ("a_model_of_this_program_keeps_its_preprocessing", false, own_model),
    ("a_pickle_is_not_run", false, pickle),
    ("a_vnet_of_monai_that_is_a_v_net_becomes_one", false, monai),
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
            "encoder.0.bn.weight is not part of V-Net",
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
    assert_eq!(import(&path).expect("it fits"), Imported { model, layout: Layout::Model });
}

fn pickle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in [("a.pt", &b"PK\x03\x04rest of an archive"[..]), ("b.pth", &b"\x80\x02}q\x00."[..])] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let error = import(&path).expect_err("a pickle").to_string();
        for word in [name, "python3 -c", "weights_only=True", "safetensors"] {
            assert!(error.contains(word), "{word} is not in {error}");
        }
    }
    let error = import(Path::new("/nowhere/a.safetensors")).expect_err("no file").to_string();
    assert!(error.contains("/nowhere/a.safetensors: cannot read"), "{error}");
}

/// Five levels, as MONAI's.
fn five_levels() -> VNet {
    VNet { base: 2, encoder: vec![1, 1, 2, 3, 2], decoder: vec![1, 1, 2, 2] }
}

/// Where a module of V-Net stands in MONAI's VNet; the convolution's, its normalisation's and its activation's name.
fn places(vnet: &VNet) -> Vec<(String, String, String, String)> {
    let place = |own: String, module: &str, parts: [&str; 3]| {
        let [convolution, norm, act] = parts.map(|part| format!("{module}.{part}"));
        (own, convolution, norm, act)
    };
    let block = ["conv_block.conv", "conv_block.adn.N", "act_function"];
    let mut places = vec![place("encoder.0.conv.0".to_owned(), "in_tr", block)];
    let sides = [("encoder", &vnet.encoder[1..], 1, "down"), ("decoder", &vnet.decoder[..], 0, "up")];
    for (side, counts, first, kind) in sides {
        for (index, &count) in counts.iter().enumerate() {
            let (own, module) = (format!("{side}.{}", index + first), format!("{kind}_tr{}", 32 << index));
            let convolution = format!("{kind}_conv");
            places.push(place(format!("{own}.{kind}"), &module, [&convolution, "bn1", "act_function1"]));
            for j in 0..count {
                places.push(place(format!("{own}.conv.{j}"), &format!("{module}.ops.{j}"), block));
            }
        }
    }
    places
}

/// The state dictionary of a VNet of MONAI that computes what a V-Net does: its normalisation changes nothing but for
/// rounding, and the activations that V-Net does not have are identities.
fn as_monai(own: &Tensors, vnet: &VNet) -> Tensors {
    let vector = |data: Vec<f32>| Tensor { shape: vec![data.len()], data };
    let mut found = Tensors::new();
    let norm = |found: &mut Tensors, name: &str, channels: usize| {
        for (part, value) in [("running_mean", 0.0), ("running_var", 1.0 - 1e-5), ("weight", 1.0), ("bias", 0.0)] {
            found.insert(format!("{name}.{part}"), vector(vec![value; channels]));
        }
    };
    for (own_name, convolution, norm_name, act) in places(vnet) {
        for part in ["weight", "bias"] {
            found.insert(format!("{convolution}.{part}"), own[&format!("{own_name}.{part}")].clone());
        }
        norm(&mut found, &norm_name, own[&format!("{own_name}.bias")].data.len());
        let own_act = match own_name.split_once(".conv.") {
            Some((stage, j)) => format!("{stage}.act.{j}"),
            None => format!("{own_name}_act"),
        };
        let slopes = own[&format!("{own_act}.weight")].clone();
        let next = own_act.rsplit_once('.').map(|(stage, j)| format!("{stage}.{}.weight", j.parse().unwrap_or(0) + 1));
        let last = own_name.contains(".conv.") && !next.is_some_and(|next| own.contains_key(&next));
        let module = act.split_once(".ops").map(|(module, _)| module);
        if let (true, Some(module)) = (last, module) {
            found.insert(format!("{act}.weight"), vector(vec![1.0; slopes.data.len()]));
            found.insert(format!("{module}.act_function2.weight"), slopes);
        } else {
            found.insert(format!("{act}.weight"), slopes);
        }
    }
    // The head: twice the matrix in the middle of 5^3 taps, then half the identity.
    let (classes, channels) = (own["head.bias"].data.len(), 2 * vnet.base);
    let mut wide = vec![0.0; classes * channels * 125];
    let head = &own["head.weight"].data;
    head.iter().enumerate().for_each(|(i, w)| wide[i * 125 + 62] = 2.0 * w);
    found
        .insert("out_tr.conv_block.conv.weight".into(), Tensor { shape: vec![classes, channels, 5, 5, 5], data: wide });
    norm(&mut found, "out_tr.conv_block.adn.N", classes);
    found.insert("out_tr.act_function1.weight".into(), vector(vec![1.0]));
    let halves = (0..classes * classes).map(|i| if i % (classes + 1) == 0 { 0.5 } else { 0.0 }).collect();
    found.insert("out_tr.conv2.weight".into(), Tensor { shape: vec![classes, classes, 1, 1, 1], data: halves });
    found.insert("out_tr.conv2.bias".into(), own["head.bias"].clone());
    found
}

fn monai() {
    let network = Network::new(1, 3, five_levels());
    let own = tensors(&network);
    let imported = read(&as_monai(&own, &five_levels())).expect("it is a V-Net");
    assert_eq!((imported.layout, &imported.model.network), (Layout::Monai, &network));
    assert_eq!(imported.model.tensors.keys().collect::<Vec<_>>(), own.keys().collect::<Vec<_>>());
    for (name, expected) in &own {
        let found = &imported.model.tensors[name];
        assert_eq!(found.shape, expected.shape, "{name}");
        for (found, expected) in found.data.iter().zip(&expected.data) {
            // The stored variance is rounded to float32, and so is the result.
            assert!((found - expected).abs() <= expected.abs() * f32::EPSILON, "{name}: {found}, not {expected}");
        }
    }
}

fn foreign_differences() {
    let network = Network::new(1, 3, five_levels());
    let whole = as_monai(&tensors(&network), &five_levels());
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = whole.clone();
        change(&mut tensors);
        differences(&tensors)
    };
    assert_eq!(
        changed(&|t| t.get_mut("down_tr64.ops.1.act_function.weight").expect("there").data[2] = 0.25),
        ["down_tr64.ops.1.act_function is a PReLU with slopes other than 1 before the addition, where V-Net has none"]
    );
    assert_eq!(
        changed(&|t| t.get_mut("out_tr.conv_block.conv.weight").expect("there").data[3] = noise("x", 1)),
        ["out_tr has a 5x5x5 convolution, where V-Net's head is 1x1x1"]
    );
    let head = |shape: &[usize]| {
        let tensor = Tensor { shape: shape.to_vec(), data: vec![0.5; shape.iter().product()] };
        changed(&|t| drop(t.insert("out_tr.conv2.weight".to_owned(), tensor.clone())))
    };
    for shape in [[3, 1, 1, 1, 1], [3, 4, 1, 1, 1], [3, 3, 3, 3, 3], [3, 3, 1, 1, 2]] {
        assert_eq!(head(&shape), [format!("out_tr.conv2.weight is {shape:?}, expected [3, 3, 1, 1, 1]")]);
    }
    assert_eq!(
        head(&[3, 0, 1, 1, 1]),
        ["out_tr.conv2.weight is [3, 0, 1, 1, 1], expected five axes, none of them empty"]
    );
    let wide = |extents: [usize; 3]| {
        let shape = [&[3, 4][..], &extents].concat();
        let mut tensor = Tensor { data: vec![0.0; shape.iter().product()], shape };
        let taps: usize = extents.iter().product();
        tensor.data.iter_mut().skip(taps / 2).step_by(taps.max(1)).for_each(|middle| *middle = 1.0);
        changed(&|t| drop(t.insert("out_tr.conv_block.conv.weight".to_owned(), tensor.clone())))
    };
    assert_eq!(wide([4, 4, 4]), ["out_tr has a 5x5x5 convolution, where V-Net's head is 1x1x1"]);
    assert_eq!(
        wide([5, 0, 5]),
        ["out_tr.conv_block.conv.weight is [3, 4, 5, 0, 5], expected five axes, none of them empty"]
    );
    assert_eq!(changed(&|t| drop(t.remove("up_tr32.bn1.running_var"))), ["up_tr32.bn1.running_var is missing"]);
    // ELU, MONAI's default, has no parameters: every activation is told of.
    let elu = changed(&|t| t.retain(|name, _| !name.contains("act_function")));
    let extra = elu.iter().filter(|d| d.contains("is an activation without slopes")).count();
    let missing = elu.iter().filter(|d| d.contains("has no slopes (ELU or ReLU), expected a PReLU")).count();
    // One of each stage below the first and of the head; one after every convolution and each resampling.
    assert_eq!((extra, missing, elu.len()), (9, 15 + 8, 32), "{elu:?}");

    // vnet.pytorch: the same names of its own, and a normalisation that no weights can stand for.
    let rename = |name: &str| {
        let name = name.replace("conv_block.conv", "conv1").replace("conv_block.adn.N", "bn1");
        name.replace("act_function2", "relu2").replace("act_function1", "relu1").replace("act_function", "relu1")
    };
    let macy: Tensors = whole.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect();
    let found = differences(&macy);
    assert_eq!(found.len(), 1 + 8 + 14 + 1, "{found:?}");
    assert!(found.iter().all(|d| d.contains("normalises with the statistics of the image at hand")), "{found:?}");
    let bare: Tensors = macy.into_iter().filter(|(name, _)| !name.contains(".bn1.")).collect();
    let imported = read(&bare).expect("without normalisation it is a V-Net");
    assert_eq!((imported.layout, &imported.model.tensors), (Layout::VnetPytorch, &tensors(&network)));
}
