use std::ops::{Add, Div, Mul, Neg, Sub};

/// A fraction in lowest terms with a denominator above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fraction {
    numerator: i64,
    denominator: i64,
}

impl Fraction {
    pub fn new(numerator: i64, denominator: i64) -> Self {
        assert_ne!(denominator, 0, "a fraction has a denominator");
        let divisor = divisor(numerator.abs(), denominator.abs()) * denominator.signum();
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    pub fn whole(number: i64) -> Self {
        Self { numerator: number, denominator: 1 }
    }

    pub fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub fn is_negative(self) -> bool {
        self.numerator < 0
    }

    pub fn abs(self) -> Self {
        Self { numerator: self.numerator.abs(), ..self }
    }

    pub fn power(self, exponent: usize) -> Self {
        (0..exponent).fold(Self::whole(1), |product, _| product * self)
    }

    #[allow(clippy::cast_precision_loss, reason = "numerators and denominators are below a thousand")]
    pub fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// A constant expression of WGSL for a number that is not negative: rounded once, to f64.
    pub fn text(self) -> String {
        match self.denominator {
            1 => format!("{}.0", self.numerator),
            denominator => format!("{}.0 / {denominator}.0", self.numerator),
        }
    }
}

/// The greatest common divisor; one where both are zero.
fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

impl Add for Fraction {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let numerator = self.numerator * other.denominator + other.numerator * self.denominator;
        Self::new(numerator, self.denominator * other.denominator)
    }
}

impl Neg for Fraction {
    type Output = Self;

    fn neg(self) -> Self {
        Self { numerator: -self.numerator, ..self }
    }
}

impl Sub for Fraction {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Fraction {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self::new(self.numerator * other.numerator, self.denominator * other.denominator)
    }
}

impl Div for Fraction {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        Self::new(self.numerator * other.denominator, self.denominator * other.numerator)
    }
}
