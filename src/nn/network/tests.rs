use super::*;
use crate::nn::unet::UNet;
use crate::nn::vnet::{Style, VNet};
use crate::nn::{Nonlinearity, Norm};

/// One 1x1x1 convolution, in no table.
#[derive(Debug)]
struct Point;

impl Architecture for Point {
    fn kind(&self) -> &'static str {
        "point"
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        vec![("bias", true.into())]
    }

    fn summary(&self) -> String {
        "a point".to_owned()
    }

    fn divisor(&self) -> [usize; 3] {
        [1, 2, 4]
    }

    fn check(&self, _: usize) -> Result<(), NetworkError> {
        Ok(())
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        layers.head(image, classes)
    }
}

const WRITTEN: &str = r#"{"in_channels":1,"classes":3,"base":4,"encoder":[1,2],"decoder":[1]}"#;

/// Model files of earlier versions have this text.
#[test]
fn a_vnet_is_written_without_its_kind() {
    let network = Network::new(1, 3, VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] });
    assert_eq!(serde_json::to_string(&network).expect("JSON"), WRITTEN);
    for text in [WRITTEN.to_owned(), WRITTEN.replace("\"base\"", "\"kind\":\"vnet\",\"base\"")] {
        assert_eq!(serde_json::from_str::<Network>(&text).expect("a network"), network);
    }
    let read = |from: &str, to: &str| serde_json::from_str::<Network>(&WRITTEN.replace(from, to));
    let error = read("\"base\":4", "\"kind\":\"wnet\"").expect_err("unknown").to_string();
    assert!(error.starts_with("unknown kind \"wnet\", expected one of `vnet`"), "{error}");
    let error = read("\"base\":4", "\"bass\":4").expect_err("unknown").to_string();
    assert!(error.starts_with("unknown key bass"), "{error}");
    let error = read("[1,2]", "2").expect_err("another type").to_string();
    assert!(error.contains("key encoder: expected 1 to 16 convolutions"), "{error}");
}

#[test]
fn settings_are_checked_by_their_ranges_and_together() {
    let network = |base, decoder| Network::new(3, 2, VNet { base, encoder: vec![1, 2], decoder });
    let message = |network: Network| network.validate().expect_err("wrong").to_string();
    assert_eq!(message(network(0, vec![1])), "network: base is 0, expected 1 to 256");
    let expected = "network: decoder is [17], expected 1 to 16 convolutions in each of up to 7 stages";
    assert_eq!(message(network(4, vec![17])), expected);
    assert!(message(network(4, vec![1, 1])).starts_with("network: encoder has 2 stages and decoder 2"));
    network(4, vec![1]).validate().expect("valid");
    assert_eq!(network(4, vec![1]).with("base", 8), Some(network(8, vec![1])));
    assert_eq!(network(4, vec![1]).with("features", 8), None);
}

#[test]
fn regions_are_written_and_read() {
    let network = Network::new(1, 3, VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] });
    let network = network.with_activation(Activation::Sigmoid);
    let written = WRITTEN.replace("\"base\"", "\"activation\":\"sigmoid\",\"base\"");
    assert_eq!(serde_json::to_string(&network).expect("JSON"), written);
    assert_eq!(serde_json::from_str::<Network>(&written).expect("a network"), network);
    let softmax = serde_json::from_str::<Network>(&written.replace("sigmoid", "softmax")).expect("a network");
    assert_eq!(serde_json::to_string(&softmax).expect("JSON"), WRITTEN);
    assert_eq!(network.description(), "V-Net base 4, 2 levels, 1 channel, 3 regions (sigmoid)");
    assert_eq!(softmax.description(), "V-Net base 4, 2 levels, 1 channel, 3 classes");
    assert_eq!(network.with("base", 8).map(|wider| wider.activation), Some(Activation::Sigmoid));
    let error = serde_json::from_str::<Network>(&written.replace("sigmoid", "tanh")).expect_err("unknown");
    assert!(error.to_string().contains("unknown variant `tanh`, expected `softmax` or `sigmoid`"), "{error}");
}

#[test]
fn outputs_have_a_range() {
    let outputs = |classes, activation| {
        let network = Network::new(1, classes, VNet::paper()).with_activation(activation);
        network.validate().map_err(|error| error.to_string())
    };
    assert_eq!(outputs(1, Activation::Sigmoid), Ok(()));
    assert_eq!(outputs(31, Activation::Sigmoid), Ok(()));
    let regions = |found| Err(format!("network: classes is {found}, expected 1 to 31 regions"));
    assert_eq!(outputs(0, Activation::Sigmoid), regions(0));
    assert_eq!(outputs(32, Activation::Sigmoid), regions(32));
    assert_eq!(outputs(1, Activation::Softmax), Err("network: classes is 1, expected 2 to 256".to_owned()));
}

#[test]
fn an_architecture_need_not_be_in_the_table() {
    let network = Network::new(2, 3, Point);
    network.validate().expect("valid");
    let written = serde_json::to_string(&network).expect("JSON");
    assert_eq!(written, r#"{"in_channels":2,"classes":3,"kind":"point","bias":true}"#);
    let mut graph = Graph::new();
    let image = graph.input("image", crate::tensor::TensorSpec::f32([1, 3, 3, 3, 2]));
    let appended = network.append(&mut graph, image, Mode::Inference).expect("defined");
    assert_eq!(graph.spec(appended.logits).shape, [1, 3, 3, 3, 3]);
    // Padded to 3 x 4 x 4.
    assert_eq!(appended.layers[0].extents, [3, 4, 4]);
    assert_eq!(network.with("bias", false), None);
}

/// Keys that came later are written where they differ from what the kind has, and read back.
#[test]
fn options_are_written_where_they_differ() {
    let written = |network: &Network| serde_json::to_string(network).expect("JSON");
    let base = VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] };
    assert_eq!(written(&Network::new(1, 3, base.clone().variant())), WRITTEN);
    let mut variant = base.variant();
    variant.options.normalisation = Norm::Group(2);
    variant.options.nonlinearity = Nonlinearity::Elu;
    variant.options.dropout = 0.25;
    variant.options.strides = vec![[1; 3], [1, 2, 2]];
    variant.style = Style::Monai;
    let network = Network::new(1, 3, variant);
    let keys = r#","normalisation":"group","groups":2,"nonlinearity":"elu","dropout":0.25,"strides":[[1,1,1],[1,2,2]],"style":"monai"}"#;
    assert_eq!(written(&network), WRITTEN.trim_end_matches('}').to_owned() + keys);
    assert_eq!(
        (network.divisor(), serde_json::from_str::<Network>(&written(&network)).expect("read")),
        ([1, 2, 2], network)
    );
    let unet = Network::new(1, 3, UNet { features: 8, ..UNet::residual(&[1, 2]) });
    let text =
        r#"{"in_channels":1,"classes":3,"kind":"residual_unet","features":8,"most_features":320,"blocks":[1,2]}"#;
    assert_eq!((written(&unet).as_str(), serde_json::from_str::<Network>(text).expect("read")), (text, unet));
    // An empty list and the word stand for what the kind has.
    let plain = WRITTEN.trim_end_matches('}').to_owned() + r#","normalisation":"default","kernels":[]}"#;
    assert_eq!(written(&serde_json::from_str::<Network>(&plain).expect("read")), WRITTEN);
}

#[test]
fn options_that_do_not_fit_are_told_of() {
    let message = |change: &dyn Fn(&mut UNet)| {
        let mut unet = UNet { features: 6, ..UNet::plain(&[1, 2, 1]) };
        change(&mut unet);
        Network::new(1, 2, unet).validate().expect_err("wrong").to_string()
    };
    let kernels = message(&|unet| unet.options.kernels = vec![[3; 3]; 2]);
    assert_eq!(kernels, "network: kernels has 2 triples, expected one for each of 3 levels");
    let even = message(&|unet| unet.options.kernels = vec![[3, 2, 3]; 3]);
    assert!(even.ends_with("expected none, or for each of at most 8 levels [z, y, x] of 1, 3 or 5"), "{even}");
    let strides = message(&|unet| unet.options.strides = vec![[1; 3]; 3]);
    assert!(strides.contains("[1, 1, 1] first and not again"), "{strides}");
    let groups = message(&|unet| unet.options.normalisation = Norm::Group(4));
    assert_eq!(groups, "network: groups is 4, expected a divisor of the 6 channels of a level");
    let mut monai = VNet::paper().variant();
    (monai.style, monai.options.normalisation) = (crate::nn::vnet::Style::Monai, Norm::Group(2));
    let monai = Network::new(1, 2, monai).validate().expect_err("outputs").to_string();
    assert!(monai.starts_with("network: groups is 2, expected 1 with style monai"), "{monai}");
    let decoder = message(&|unet| unet.decoder_units = vec![1]);
    assert!(decoder.starts_with("network: decoder_units has 1 stages and units 3"), "{decoder}");
    let text = WRITTEN.trim_end_matches('}').to_owned() + r#","normalisation":"instnce"}"#;
    let error = serde_json::from_str::<Network>(&text).expect_err("no such word").to_string();
    assert!(error.contains("key normalisation: expected `default`, `none`, `instance`"), "{error}");
}
