use crate::graph::{Graph, Initial};
use crate::random::{Purpose, Stream};

/// Initial values of a parameter in device order, by its rule ([`Initial`]).
///
/// Without normalisation layers He weights give logits with a standard deviation near 9, where softmax saturates and
/// soft Dice has no gradient; `head_gain` scales the last layer's weights down against that.
///
/// A pure function of the seed and the position of the parameter in the graph, with the same bits on every platform.
pub fn initialise(graph: &Graph, position: usize, seed: u64, head_gain: f32) -> Vec<f32> {
    let parameter = &graph.parameters()[position];
    let elements = graph.spec(parameter.value).elements();
    match parameter.initial {
        Initial::Constant(value) => vec![value; elements],
        Initial::He { fan_in, head } => {
            let deviation = (2.0 / fan_in as f64).sqrt();
            let gain = if head { f64::from(head_gain) } else { 1.0 };
            let normals = Stream::new(seed, Purpose::Weights, position as u64).normals();
            normals.take(elements).map(|x| (x * deviation * gain) as f32).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::SLOPE;
    use crate::tensor::layout::ParameterLayout;

    const SEED: u64 = 7;

    /// A convolution with 75 products per output, a bias, slopes, a transposed convolution with 3, and the head with 4.
    fn graph() -> Graph {
        let mut graph = Graph::new();
        graph.parameter("conv.weight", &[5, 5, 3, 1, 400], ParameterLayout::Convolution, true);
        graph.parameter("conv.bias", &[7], ParameterLayout::Vector, false);
        let slopes = graph.parameter("slopes", &[5], ParameterLayout::Vector, false);
        graph.set_initial(slopes, |_| Initial::Constant(SLOPE));
        graph.parameter("up.weight", &[2, 2, 2, 3, 1001], ParameterLayout::TransposedConvolution, true);
        let logits = graph.parameter("logits", &[1, 1, 1, 4, 5001], ParameterLayout::Convolution, true);
        graph.set_initial(logits, Initial::of_head);
        graph
    }

    fn moments(values: &[f32], deviation: f64) -> [f64; 3] {
        let of = |power: i32| {
            values.iter().map(|&x| (f64::from(x) / deviation).powi(power)).sum::<f64>() / values.len() as f64
        };
        [of(1), of(2), of(4)]
    }

    /// Five standard errors of the mean of n values of x, x^2 and x^4 for a standard normal x, whose variances are 1, 2 and
    /// 105 - 9 = 96; rounding to f32 is a millionth of that.
    #[test]
    fn weights_are_normal_with_the_deviation_of_he() {
        for (position, products, gain) in [(0, 75.0, 1.0), (3, 3.0, 1.0), (4, 4.0, 0.125)] {
            let values = initialise(&graph(), position, SEED, 0.125);
            let deviation = gain * (2.0f64 / products).sqrt();
            let error = |variance: f64| 5.0 * (variance / values.len() as f64).sqrt();
            let [mean, square, fourth] = moments(&values, deviation);
            assert!(mean.abs() < error(1.0), "parameter {position}: mean {mean}");
            assert!((square - 1.0).abs() < error(2.0), "parameter {position}: variance {square}");
            assert!((fourth - 3.0).abs() < error(96.0), "parameter {position}: fourth moment {fourth}");
        }
        assert_eq!(initialise(&graph(), 1, SEED, 1.0), [0.0; 7]);
        assert_eq!(initialise(&graph(), 2, SEED, 1.0), [SLOPE; 5]);
    }

    /// Five standard errors of the mean of n products of independent standard normal numbers, whose variance is 1.
    #[test]
    fn parameters_and_seeds_are_independent() {
        let graph = graph();
        let of = |position, seed| initialise(&graph, position, seed, 1.0);
        let (a, b, c) = (of(0, SEED), of(0, SEED + 1), of(3, SEED));
        for other in [&b, &c] {
            let deviations = if other.len() == b.len() { 2.0 / 75.0 } else { (2.0f64 / 75.0 * 2.0 / 3.0).sqrt() };
            let products: Vec<f64> = a.iter().zip(other).map(|(x, y)| f64::from(x * y) / deviations).collect();
            let mean = products.iter().sum::<f64>() / products.len() as f64;
            assert!(mean.abs() < 5.0 / (products.len() as f64).sqrt(), "{mean}");
        }
    }

    /// Pinned, on every platform: a stored seed must go on meaning the same weights.
    #[test]
    fn weights_are_pinned_to_the_bit() {
        let bits = |position: usize| -> Vec<u32> {
            initialise(&graph(), position, SEED, 0.05).iter().take(4).map(|x| x.to_bits()).collect()
        };
        assert_eq!(bits(0), [0xbdfabfb6, 0xbdfc6ed6, 0xbe4e923c, 0x3da7ad72]);
        assert_eq!(bits(3), [0xbefe8634, 0xbf432507, 0x3e8e27ff, 0x3f14e539]);
        assert_eq!(bits(4), [0x3ca30050, 0xbd340a87, 0xbcaec522, 0x3d329f6c]);
    }
}
