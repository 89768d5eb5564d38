//! WGSL of a transform. Where all points come in pairs ±p, what they have in common is computed once: sums over even and odd powers.

use super::{Fraction, Matrices, Transform};

/// The fields of the structs of elements.
fn field(of: &str, index: usize) -> String {
    format!("{of}.f{index}")
}

/// A number times a variable.
type Term = (Fraction, String);

/// A sum of products. What all factors have in common stands in front; a first term that is subtracted comes last.
fn sum(terms: impl IntoIterator<Item = Term>) -> String {
    let mut terms: Vec<Term> = terms.into_iter().filter(|(factor, _)| !factor.is_zero()).collect();
    let one = Fraction::whole(1);
    let first = terms[0].0;
    if terms.len() > 1 && first.abs() != one && terms.iter().all(|(factor, _)| *factor == first) {
        let sign = if first.is_negative() { "-" } else { "" };
        let names: Vec<&str> = terms.iter().map(|(_, name)| name.as_str()).collect();
        return format!("{sign}{} * ({})", first.abs().text(), names.join(" + "));
    }
    if first.is_negative() && terms.iter().any(|(factor, _)| !factor.is_negative()) {
        terms.rotate_left(1);
    }
    let mut text = String::new();
    for (factor, name) in terms {
        text += match (text.is_empty(), factor.is_negative()) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        };
        text += &if factor.abs() == one { name } else { format!("{} * {name}", factor.abs().text()) };
    }
    text
}

/// Differences from the inside out, where the factors from either end differ in sign: constant inputs give exactly zero.
fn differences(row: &[Fraction]) -> Option<String> {
    let places: Vec<usize> = (0..row.len()).filter(|&k| !row[k].is_zero()).collect();
    let count = places.len();
    let opposite = (0..count).all(|i| row[places[i]] == -row[places[count - 1 - i]]);
    if count == 0 || !opposite {
        return None;
    }
    let pair = |i: usize| {
        let (low, high) = (places[i], places[count - 1 - i]);
        let (plus, minus) = if row[low].is_negative() { (high, low) } else { (low, high) };
        let difference = format!("({} - {})", field("x", plus), field("x", minus));
        let factor = row[low].abs();
        if factor == Fraction::whole(1) { difference } else { format!("{} * {difference}", factor.text()) }
    };
    Some((0..count / 2).rev().map(pair).collect::<Vec<_>>().join(" + "))
}

/// The frequencies of a point, or of a pair of points that differ in sign.
enum Group {
    One(usize),
    Pair(usize),
}

impl Matrices {
    /// All frequencies in order, that of infinity last. Rows of points ±p have the same factors up to signs where all points come in
    /// such pairs.
    fn groups(&self) -> Vec<Group> {
        let symmetric = self.points.iter().all(|&p| self.points.contains(&-p));
        let mut groups = Vec::new();
        let mut at = 0;
        while at < self.points.len() + 1 {
            let paired = symmetric && at + 1 < self.points.len() && self.points[at + 1] == -self.points[at];
            groups.push(if paired { Group::Pair(at) } else { Group::One(at) });
            at += if paired { 2 } else { 1 };
        }
        groups
    }

    /// The body of a function to frequencies, with a row of a matrix for each.
    fn to_frequencies(&self, rows: &[Vec<Fraction>], of: &str, as_differences: bool) -> [String; 2] {
        let (mut statements, mut results) = (String::new(), Vec::new());
        for group in self.groups() {
            match group {
                Group::One(i) => {
                    let found = if as_differences { differences(&rows[i]) } else { None };
                    let terms = rows[i].iter().enumerate().map(|(k, &factor)| (factor, field(of, k)));
                    results.push(found.unwrap_or_else(|| sum(terms)));
                }
                Group::Pair(i) => {
                    let power = |odd: usize| {
                        let terms = rows[i].iter().enumerate().filter(move |(k, _)| k % 2 == odd);
                        sum(terms.map(|(k, &factor)| (factor, field(of, k))))
                    };
                    statements += &format!("    let even_{i} = {};\n    let odd_{i} = {};\n", power(0), power(1));
                    results.extend([format!("even_{i} + odd_{i}"), format!("even_{i} - odd_{i}")]);
                }
            }
        }
        [statements, results.join(",\n        ")]
    }

    /// The body of a function from frequencies to `count` powers: row `k` has `pᵏ` for each point. With `scaled` the frequencies are
    /// divided by N first.
    fn sums_of_powers(&self, count: usize, scaled: bool) -> [String; 2] {
        let one = Fraction::whole(1);
        let scale = |i: usize| if scaled { self.g[i][0] } else { one };
        let mut statements = String::new();
        // What is multiplied by the powers of a point, for even and for odd powers.
        let mut parts: Vec<[Term; 2]> = Vec::new();
        let finite = self.points.len();
        for group in self.groups() {
            match group {
                Group::One(i) if i == finite => {}
                Group::One(i) => parts.push([(); 2].map(|()| (scale(i), field("m", i)))),
                Group::Pair(i) => {
                    let (plus, minus) = (field("m", i), field("m", i + 1));
                    let factor = if scaled { scale(i) } else { one };
                    let scaled = |sign: &str| {
                        let text = format!("{plus} {sign} {minus}");
                        let minus = if factor.is_negative() { "-" } else { "" };
                        if factor == one { text } else { format!("{minus}{} * ({text})", factor.abs().text()) }
                    };
                    let (sums, differences) = (scaled("+"), scaled("-"));
                    statements += &format!("    let sum_{i} = {sums};\n    let difference_{i} = {differences};\n");
                    parts.push([(one, format!("sum_{i}")), (one, format!("difference_{i}"))]);
                }
            }
        }
        let firsts = self.groups().into_iter().map(|group| match group {
            Group::One(i) | Group::Pair(i) => i,
        });
        let firsts: Vec<usize> = firsts.filter(|&i| i < finite).collect();
        let row = |k: usize| {
            let finite_terms = parts.iter().zip(&firsts).map(|(part, &i)| {
                let (factor, name) = &part[k % 2];
                (self.points[i].power(k) * *factor, name.clone())
            });
            let last = (Fraction::whole(i64::from(k + 1 == count)), field("m", finite));
            sum(finite_terms.chain([last]))
        };
        [statements, (0..count).map(row).collect::<Vec<_>>().join(",\n        ")]
    }
}

impl Transform {
    /// WGSL of the constants, types and functions of an axis `Z`, `Y` or `X`, for `shaders/winograd_*.wgsl`.
    pub(in crate::kernel) fn wgsl(&self, axis: &str) -> String {
        let matrices = self.matrices();
        let lower = axis.to_lowercase();
        let &Self { outputs, taps } = self;
        let frequencies = self.frequencies();
        let mut text = format!("// Winograd's F({outputs}, {taps}) along {lower}: src/kernel/transform.rs.\n");
        for (name, count) in [("Outputs", outputs), ("Taps", taps), ("Frequencies", frequencies)] {
            text += &format!("const {}_{axis} = {count}u;\n", name.to_uppercase());
            text += &format!("struct {name}{axis} {{\n");
            (0..count).for_each(|i| text += &format!("    f{i}: Element,\n"));
            text += "}\n";
        }
        let mut function = |name: &str, [of, from]: [&str; 2], to: &str, [statements, results]: [String; 2]| {
            text += &format!("fn {name}_{lower}({of}: {from}{axis}) -> {to}{axis} {{\n{statements}    return ");
            text += &format!("{to}{axis}(\n        {results},\n    );\n}}\n");
        };
        let f = "Frequencies";
        function("transform_input", ["x", f], f, matrices.to_frequencies(&matrices.b, "x", true));
        function("transform_weight", ["w", "Taps"], f, matrices.to_frequencies(&matrices.g, "w", false));
        function("transform_output", ["m", f], "Outputs", matrices.sums_of_powers(outputs, false));
        function("transform_grad", ["y", "Outputs"], f, matrices.to_frequencies(&matrices.a, "y", false));
        function("transform_grad_weight", ["m", f], "Taps", matrices.sums_of_powers(taps, true));
        text
    }
}
