//! Counter-based random numbers: every draw is a pure function of a seed, a purpose and an index.
//!
//! Two purposes never share a stream, and case 7 or epoch 3 can be drawn without drawing those
//! before. The samplers are written out here, because a library's may change between versions, and
//! a split, an order of cases or the initial weights of a seed must not. Logarithm, sine and cosine are
//! libm's, in software, so that a seed gives the same bits on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Which cases train, validate and test.
    Split = 1,
    /// The order of the training cases in an epoch.
    Order = 2,
    /// The anatomy of a phantom.
    PhantomShape = 3,
    /// The texture, coil and noise of a phantom.
    PhantomSignal = 4,
    /// How a sample is augmented.
    Augmentation = 5,
    /// The volume whose histogram a sample takes on.
    HistogramPartner = 6,
    /// The place of a sample's patch.
    Patch = 7,
    /// The initial weights of a parameter.
    Weights = 8,
    /// Inputs of self-tests, tests and benchmarks.
    TestInputs = 9,
    /// What dropout drops of a sample.
    Dropout = 10,
}

/// A stream of random numbers (ChaCha with 8 rounds).
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of (seed, purpose, index).
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Stream {
        Stream::of_part(seed, purpose, index, 0)
    }

    /// The stream of a part of (seed, purpose, index): a channel of a sample, say. That of part 0 is [`Stream::new`].
    pub fn of_part(seed: u64, purpose: Purpose, index: u64, part: u64) -> Stream {
        let mut key = [0u8; 32];
        key[0..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        key[24..32].copy_from_slice(&part.to_le_bytes());
        Stream(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Two independent standard normal numbers (Box and Muller 1958).
    pub fn normal_pair(&mut self) -> [f64; 2] {
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        [radius * cos, radius * sin]
    }

    /// Standard normal numbers without end: those of pair after pair.
    pub fn normals(mut self) -> impl Iterator<Item = f64> {
        std::iter::repeat_with(move || self.normal_pair()).flatten()
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        self.normal_pair()[0]
    }

    /// Uniform in 0..count by multiplying high words; the bias is below count / 2^64.
    pub fn below(&mut self, count: usize) -> usize {
        let product = u128::from(self.0.next_u64()) * count as u128;
        usize::try_from(product >> 64).expect("the high word is below count, which is a usize")
    }

    /// A permutation of 0..count (Fisher and Yates, from the end).
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// A permutation of 128 bits (Jarzynski and Olano, JCGT 9(3), 2020): four random words for a counter, as `shaders/common/random.wgsl`
/// draws them on the device.
pub fn pcg4d(counter: [u32; 4]) -> [u32; 4] {
    let mut v = counter.map(|c| c.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        for (to, a, b) in [(0, 1, 3), (1, 2, 0), (2, 0, 1), (3, 1, 2)] {
            v[to] = v[to].wrapping_add(v[a].wrapping_mul(v[b]));
        }
    };
    mix(&mut v);
    v = v.map(|c| c ^ (c >> 16));
    mix(&mut v);
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_purpose_index_and_part() {
        let draw = |seed, purpose, index| Stream::new(seed, purpose, index).permutation(50);
        let reference = draw(5, Purpose::Split, 0);
        assert_eq!(reference, draw(5, Purpose::Split, 0));
        let part = |part| Stream::of_part(5, Purpose::Split, 0, part).permutation(50);
        for other in [draw(6, Purpose::Split, 0), draw(5, Purpose::Order, 0), draw(5, Purpose::Split, 1), part(1)] {
            assert_ne!(reference, other);
        }
        assert_eq!(reference, part(0));
        let mut sorted = reference;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }

    /// Pinned: a stored seed must go on meaning the same split and the same order.
    #[test]
    fn permutation_is_pinned() {
        assert_eq!(Stream::new(5, Purpose::Split, 0).permutation(8), [6, 7, 0, 2, 1, 4, 3, 5]);
    }

    /// Pinned, on every platform: a stored seed must go on meaning the same weights.
    #[test]
    fn normal_numbers_are_pinned_to_the_bit() {
        let bits: Vec<u64> = Stream::new(7, Purpose::Weights, 3).normals().take(4).map(f64::to_bits).collect();
        assert_eq!(bits, [0xbfe37ba2cce7e102, 0xbfede013aeb936e3, 0x3fd5c35d26f9d65b, 0x3fe6cb7bf958c146]);
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut stream = Stream::new(1, Purpose::PhantomSignal, 9);
        let values: Vec<f64> = (0..20_000).flat_map(|_| stream.normal_pair()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64;
        // Five standard errors: 5 / sqrt(40000) and 5 sqrt(2 / 40000).
        assert!(mean.abs() < 0.025 && (variance - 1.0).abs() < 0.036, "mean {mean}, variance {variance}");
    }
}
