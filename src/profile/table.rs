use super::{KernelMeasure, LayerMeasure, Measure, Pass, Roofline};
use std::fmt::Write;

/// Which groups of columns a [`layer_table`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Forward only.
    Forward,
    /// Forward and backward; the optimiser is a row of its own.
    Training,
}

/// A table by layer: a row per scope in the network, with its forward and its backward part side by side.
pub fn layer_table(layers: &[LayerMeasure], roofline: &Roofline, passes: Passes) -> String {
    let width = layers.iter().map(|l| l.layer.len()).chain([5]).max().unwrap_or(5);
    let total: f64 = layers.iter().map(|l| l.measure.seconds).sum();
    let groups: &[Pass] = match passes {
        Passes::Forward => &[Pass::Forward],
        Passes::Training => &[Pass::Forward, Pass::Backward],
    };
    let mut text = format!("{:<width$}", "layer");
    for pass in groups {
        let title = if *pass == Pass::Forward { "forward ms" } else { "backward ms" };
        write!(text, "  {title:>12} {:>9} {:>8} {:>8}", "GFLOP/s", "GB/s", "roofline").expect("text takes text");
    }
    text.push_str("    time\n");
    let mut names: Vec<&str> = layers.iter().map(|l| l.layer.as_str()).collect();
    names.dedup();
    for name in names {
        let of = |pass: Pass| layers.iter().find(|l| l.layer == name && l.pass == pass).map(|l| &l.measure);
        write!(text, "{name:<width$}").expect("text takes text");
        for &pass in groups {
            // A stage that follows the graph stands in the last group.
            let last = pass == groups[groups.len() - 1];
            let found = of(pass).or_else(|| of(Pass::Update).filter(|_| last));
            text.push_str(&found.map_or_else(|| format!("{:43}", ""), cells));
        }
        let seconds: f64 = layers.iter().filter(|l| l.layer == name).map(|l| l.measure.seconds).sum();
        writeln!(text, " {:>6.1}%", 100.0 * seconds / total.max(f64::MIN_POSITIVE)).expect("text takes text");
    }
    writeln!(text, "{:<width$}  {:>12.3}", "all", total * 1e3).expect("text takes text");
    text.push_str(&legend(roofline));
    text
}

/// A table by kernel, the longest first.
pub fn kernel_table(kernels: &[KernelMeasure]) -> String {
    let width = |of: fn(&KernelMeasure) -> &str| kernels.iter().map(|k| of(k).len()).chain([9]).max().unwrap_or(9);
    let (first, second) = (width(|k| k.kernel), width(|k| k.op));
    let total: f64 = kernels.iter().map(|k| k.measure.seconds).sum();
    let mut text = format!(
        "{:<first$}  {:<second$} {:>10}  {:>12} {:>9} {:>8} {:>8}    time\n",
        "kernel", "operation", "dispatches", "ms", "GFLOP/s", "GB/s", "roofline"
    );
    for k in kernels {
        let share = 100.0 * k.measure.seconds / total.max(f64::MIN_POSITIVE);
        let (cells, dispatches) = (cells(&k.measure), k.measure.dispatches);
        writeln!(text, "{:<first$}  {:<second$} {dispatches:>10}{cells} {share:>6.1}%", k.kernel, k.op)
            .expect("text takes text");
    }
    text
}

fn cells(m: &Measure) -> String {
    let flops = if m.flops > 0.0 { format!("{:.2}", m.gflop_per_s()) } else { "-".to_owned() };
    let share = format!("{:.0}%", 100.0 * m.roofline_share());
    format!("  {:>12.3} {flops:>9} {:>8.2} {share:>8}", m.seconds * 1e3, m.gb_per_s())
}

fn legend(roofline: &Roofline) -> String {
    format!(
        "GFLOP/s count direct flops, GB/s compulsory traffic; the roofline is {:.1} GFLOP/s or {:.1} GB/s, whichever is \
         reached first\n",
        roofline.fma_gflop_per_s, roofline.copy_gb_per_s
    )
}
