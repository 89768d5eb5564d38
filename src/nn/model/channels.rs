use super::{Tensor, parameter_shapes};
use crate::nn::Network;
use std::collections::BTreeMap;

/// The tensors of a model of `from` as those of a network with other input channels, and in words what that changes; `None` where
/// the channels are the same.
///
/// Weights on the image are summed over the old channels and divided among the new ones. So an image that is the same in all
/// channels gives what it gave; from one channel it is each weight divided by the number of channels, to one channel their sum.
/// A projection that the network lacks is left out, one that the model lacks repeats the channels. Other tensors stay, also
/// where they do not fit.
pub(crate) fn with_channels(
    mut tensors: BTreeMap<String, Tensor>,
    from: &Network,
    to: &Network,
) -> (BTreeMap<String, Tensor>, Option<String>) {
    let [old, new] = [from, to].map(|network| network.in_channels);
    if old == new {
        return (tensors, None);
    }
    let expected = parameter_shapes(to);
    let mut mixed = Vec::new();
    for (name, tensor) in &mut tensors {
        let Some(shape) = expected.get(name) else { continue };
        let takes_the_image = shape.len() == 5 && tensor.shape.len() == 5 && (tensor.shape[1], shape[1]) == (old, new);
        let others_agree = || (0..5).filter(|&axis| axis != 1).all(|axis| tensor.shape[axis] == shape[axis]);
        if takes_the_image && others_agree() {
            *tensor = mixed_channels(tensor, new);
            mixed.push(name.clone());
        }
    }
    let mut text = format!(
        "{new} input channel{} instead of {old}: the weights of {} are summed over the old channels and divided among the new",
        if new == 1 { "" } else { "s" },
        mixed.join(" and ")
    );
    let of = |network: &Network, channels: usize| network.architecture().projection(channels);
    let before = tensors.len();
    let superfluous: Vec<String> = of(from, old).into_iter().map(|(name, _)| name).collect();
    tensors.retain(|name, _| !superfluous.contains(name) || expected.contains_key(name));
    if tensors.len() < before {
        text += ", and the projection of the image is left out, as its channels are repeated";
    }
    let projection = of(to, new);
    let is_new = |(name, _): &(String, Tensor)| expected.contains_key(name) && !tensors.contains_key(name);
    if !projection.is_empty() && projection.iter().all(is_new) {
        tensors.extend(projection);
        text += ", and the projection of the image begins as a repetition of its channels";
    }
    (tensors, Some(text))
}

/// Weights `[C, old, ...]` summed over the old channels, divided among so many new ones.
fn mixed_channels(tensor: &Tensor, new: usize) -> Tensor {
    let [outputs, old] = [tensor.shape[0], tensor.shape[1]];
    let taps = tensor.data.len() / (outputs * old).max(1);
    let share = |index: usize| {
        let (output, tap) = (index / (new * taps), index % taps);
        let weight = |channel: usize| f64::from(tensor.data[(output * old + channel) * taps + tap]);
        ((0..old).map(weight).sum::<f64>() / new as f64) as f32
    };
    let mut shape = tensor.shape.clone();
    shape[1] = new;
    Tensor { data: (0..outputs * new * taps).map(share).collect(), shape }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::vnet::VNet;

    fn network(in_channels: usize) -> Network {
        Network::new(in_channels, 2, VNet { base: 4, encoder: vec![1, 1], decoder: vec![1] })
    }

    fn tensors(in_channels: usize) -> BTreeMap<String, Tensor> {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let data = (0..shape.iter().product()).map(|i: usize| (i % 7) as f32 + name.len() as f32).collect();
            (name, Tensor { shape, data })
        };
        parameter_shapes(&network(in_channels)).into_iter().map(tensor).collect()
    }

    /// One channel to four and back; what a network gets from equal channels stays.
    #[test]
    fn weights_on_the_image_keep_their_sum() {
        let one = tensors(1);
        assert_eq!(with_channels(one.clone(), &network(1), &network(1)), (one.clone(), None));
        let (four, text) = with_channels(one.clone(), &network(1), &network(4));
        let text = text.expect("it changes");
        let words = "4 input channels instead of 1: the weights of encoder.0.conv.0.weight are summed over the old channels and \
                     divided among the new";
        assert_eq!(text, words);
        let first = "encoder.0.conv.0.weight";
        assert_eq!(four[first].shape, [4, 4, 5, 5, 5]);
        for (i, weight) in four[first].data.iter().enumerate() {
            assert_eq!(*weight, one[first].data[i / 500 * 125 + i % 125] / 4.0, "element {i}");
        }
        assert!(one.iter().all(|(name, tensor)| name == first || four[name] == *tensor));
        assert_eq!(with_channels(four, &network(4), &network(1)).0, one);
    }

    #[test]
    fn projections_come_and_go() {
        let (three, text) = with_channels(tensors(1), &network(1), &network(3));
        assert!(text.expect("it changes").ends_with("begins as a repetition of its channels"));
        assert_eq!(three["encoder.0.project.weight"].data, [1., 0., 0., 0., 1., 0., 0., 0., 1., 1., 0., 0.]);
        let shapes = |tensors: &BTreeMap<String, Tensor>| -> BTreeMap<String, Vec<usize>> {
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
        };
        assert_eq!(shapes(&three), parameter_shapes(&network(3)));
        let (two, text) = with_channels(tensors(3), &network(3), &network(2));
        assert!(text.expect("it changes").ends_with("is left out, as its channels are repeated"));
        assert_eq!(shapes(&two), parameter_shapes(&network(2)));
        let (five, text) = with_channels(tensors(1), &network(1), &network(5));
        assert!(text.expect("it changes").ends_with("begins as a repetition of its channels"));
        assert_eq!(shapes(&five), parameter_shapes(&network(5)));
        let (five, text) = with_channels(tensors(3), &network(3), &network(5));
        assert!(text.expect("it changes").contains("encoder.0.conv.0.weight and encoder.0.project.weight are"));
        assert_eq!(shapes(&five), parameter_shapes(&network(5)));
    }
}
