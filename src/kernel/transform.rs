//! The one-dimensional transforms of Winograd's convolution `F(outputs, taps)`, from interpolation points in exact fractions.
//!
//! ```text
//! y = Aᵀ [(G w) ∘ (Bᵀ x)]          outputs, taps w, and frequencies = outputs + taps - 1 inputs x
//! A[i, k] = pᵢᵏ,  G[i, k] = pᵢᵏ / Nᵢ,  B[i, ·] = the coefficients of Π_{j≠i} (x - pⱼ),  Nᵢ = Π_{j≠i} (pᵢ - pⱼ)
//! ```
//!
//! The last point is infinity: A and G have a one at their last column, B the coefficients of `Π_j (x - pⱼ)` (Winograd 1980; Lavin and
//! Gray 2016). An axis of one tap has one frequency, and nothing is transformed.

mod fraction;
mod text;

use fraction::Fraction;

/// A convolution along one axis by Winograd's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transform {
    /// Outputs of a tile.
    pub outputs: usize,
    /// Taps of the kernel.
    pub taps: usize,
}

/// How the transforms of one axis raise the noise of what they are applied to, in the worst place of a tile: the errors of
/// independent operands, relative to those of the direct sum (docs/numerics.md, section 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformNoise {
    /// In a convolution.
    pub convolution: f64,
    /// In the gradient of the weights.
    pub grad_weight: f64,
}

/// The matrices of a transform, a row per frequency.
#[derive(Debug, Clone)]
struct Matrices {
    /// Finite points.
    points: Vec<Fraction>,
    a: Vec<Vec<Fraction>>,
    b: Vec<Vec<Fraction>>,
    g: Vec<Vec<Fraction>>,
}

impl Transform {
    /// Products of a tile, which are also the inputs that it reads.
    pub fn frequencies(&self) -> usize {
        self.outputs + self.taps - 1
    }

    /// The frequency of the point 1, which counts once in each output: where a bias is added. An axis that is not transformed has only
    /// one frequency.
    pub fn point_one(&self) -> usize {
        usize::from(self.frequencies() > 1)
    }

    /// The finite points. 0 and ±1 cost no product. After them, ±2 and ±1/2 in pairs keep the rows of B symmetric; for six frequencies
    /// 1/2 and -2 raise noise by 3.2 in place of the 5.6 of ±2.
    fn points(&self) -> Vec<Fraction> {
        let [half, two] = [Fraction::new(1, 2), Fraction::whole(2)];
        let units = [Fraction::whole(0), Fraction::whole(1), Fraction::whole(-1)];
        let rest = if self.frequencies() == 6 { vec![half, -two] } else { vec![two, -two, half, -half] };
        units.into_iter().chain(rest).take(self.frequencies() - 1).collect()
    }

    fn matrices(&self) -> Matrices {
        let points = self.points();
        assert_eq!(points.len() + 1, self.frequencies(), "at most eight frequencies");
        let mut found = Matrices { points: points.clone(), a: Vec::new(), b: Vec::new(), g: Vec::new() };
        for (i, &point) in points.iter().enumerate() {
            let others: Vec<Fraction> = points.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, &p)| p).collect();
            let factor = others.iter().fold(Fraction::whole(1), |product, &other| product * (point - other));
            let powers = |count: usize| (0..count).map(|k| point.power(k));
            found.a.push(powers(self.outputs).collect());
            found.g.push(powers(self.taps).map(|power| power / factor).collect());
            found.b.push(polynomial(&others, self.frequencies()));
        }
        let last = |count: usize| (0..count).map(|k| Fraction::whole(i64::from(k + 1 == count))).collect();
        found.a.push(last(self.outputs));
        found.g.push(last(self.taps));
        found.b.push(polynomial(&points, self.frequencies()));
        found
    }

    /// Its [`TransformNoise`].
    pub fn noise(&self) -> TransformNoise {
        let Matrices { a, b, g, .. } = self.matrices();
        let worst = |outer: &[Vec<Fraction>], inner: &[Vec<Fraction>]| {
            let count = inner[0].len() as f64;
            let place = |k: usize| {
                let terms = (0..b.len()).map(|f| outer[f][k].value().powi(2) * squares(&inner[f]) * squares(&b[f]));
                (terms.sum::<f64>() / count).sqrt()
            };
            (0..outer[0].len()).map(place).fold(0.0, f64::max)
        };
        TransformNoise { convolution: worst(&a, &g), grad_weight: worst(&g, &a) }
    }
}

/// The coefficients of `Π (x - root)`, the constant one first, filled up with zeros.
fn polynomial(roots: &[Fraction], length: usize) -> Vec<Fraction> {
    let mut coefficients = vec![Fraction::whole(0); length];
    coefficients[0] = Fraction::whole(1);
    for &root in roots {
        for k in (0..length).rev() {
            let lower = if k > 0 { coefficients[k - 1] } else { Fraction::whole(0) };
            coefficients[k] = lower - root * coefficients[k];
        }
    }
    coefficients
}

fn squares(row: &[Fraction]) -> f64 {
    row.iter().map(|x| x.value().powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Transform; 5] = [
        Transform { outputs: 4, taps: 5 },
        Transform { outputs: 6, taps: 3 },
        Transform { outputs: 4, taps: 3 },
        Transform { outputs: 2, taps: 3 },
        Transform { outputs: 1, taps: 1 },
    ];

    /// In exact fractions: `Σ_f A[f, i] G[f, k] B[f, j]` is one where `j = i + k`, and zero elsewhere.
    #[test]
    fn transforms_are_the_convolution() {
        for transform in ALL {
            let Matrices { a, b, g, .. } = transform.matrices();
            let Transform { outputs, taps } = transform;
            let triples =
                (0..outputs).flat_map(|i| (0..taps).flat_map(move |k| (0..outputs + taps - 1).map(move |j| [i, k, j])));
            for [i, k, j] in triples {
                let products = (0..b.len()).map(|f| a[f][i] * g[f][k] * b[f][j]);
                let sum = products.fold(Fraction::whole(0), |sum, product| sum + product);
                assert_eq!(sum, Fraction::whole(i64::from(j == i + k)), "{transform:?} {i} {k} {j}");
            }
        }
    }

    #[test]
    fn a_bias_at_the_point_one_counts_once_in_every_output() {
        for transform in ALL {
            let row = &transform.matrices().a[transform.point_one()];
            assert!(row.iter().all(|&x| x == Fraction::whole(1)), "{transform:?}");
        }
    }

    /// The figures of docs/numerics.md.
    #[test]
    fn noise_is_what_the_documentation_says() {
        for (transform, convolution, grad_weight) in [
            (ALL[0], 5.455, 5.995),
            (ALL[1], 6.801, 5.101),
            (ALL[2], 3.232, 2.920),
            (ALL[3], 1.291, 1.414),
            (ALL[4], 1.0, 1.0),
        ] {
            let noise = transform.noise();
            assert!((noise.convolution - convolution).abs() < 1e-3, "{transform:?} {noise:?}");
            assert!((noise.grad_weight - grad_weight).abs() < 1e-3, "{transform:?} {noise:?}");
        }
    }
}
