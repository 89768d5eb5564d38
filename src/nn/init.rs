use crate::graph::{Graph, Parameter};
use crate::tensor::layout::ParameterLayout;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Initial slope of every PReLU (He et al. 2015, *Delving Deep into Rectifiers*).
const SLOPE: f32 = 0.25;

/// Initial values of a parameter in device order: weights He normal with the fan-in (He et al. 2015, equation 10, as
/// PyTorch's `kaiming_normal_`), biases zero, slopes 0.25.
///
/// Without normalisation layers He weights give logits with a standard deviation near 9, where softmax saturates and
/// soft Dice has no gradient; `head_gain` scales the last layer's weights down against that.
///
/// A pure function of the seed and the position of the parameter in the graph.
pub fn initialise(graph: &Graph, position: usize, seed: u64, head_gain: f32) -> Vec<f32> {
    let parameter = &graph.parameters()[position];
    let shape = &graph.spec(parameter.value).shape;
    let elements = shape.iter().product();
    if parameter.layout == ParameterLayout::Vector {
        let value = if parameter.name.ends_with(".weight") { SLOPE } else { 0.0 };
        return vec![value; elements];
    }
    let deviation = (2.0 / fan_in(parameter, shape) as f32).sqrt();
    let gain = if parameter.name == "head.weight" { head_gain } else { 1.0 };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(position as u64);
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    (0..elements).map(|_| normal() * deviation * gain).collect()
}

/// Products that are summed for one output. A 2x2x2 transposed convolution with stride 2 has one tap per output.
fn fan_in(parameter: &Parameter, shape: &[usize]) -> usize {
    match parameter.layout {
        ParameterLayout::TransposedConvolution => shape[3],
        _ => shape[..4].iter().product(),
    }
}
