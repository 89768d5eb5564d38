use super::{Pass, Profile, ProfiledStep, Roofline};
use crate::kernel::Cost;
use serde::Serialize;

/// Work, the time that it took, and the time that it would take at the roofline.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measure {
    /// Seconds.
    pub seconds: f64,
    /// Direct flops.
    pub flops: f64,
    /// Compulsory traffic in bytes.
    pub bytes: f64,
    /// Seconds at the roofline: of each step the longer of its flops at the fma roofline and its bytes at the copy roofline.
    pub roofline_seconds: f64,
    /// Dispatches.
    pub dispatches: usize,
}

impl Measure {
    fn of_cost(cost: Cost, seconds: f64, dispatches: usize, roofline: &Roofline) -> Self {
        let (flops, bytes) = (cost.flops as f64, cost.bytes as f64);
        let roofline_seconds = roofline.seconds(flops, bytes);
        Self { seconds, flops, bytes, roofline_seconds, dispatches }
    }

    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.flops += other.flops;
        self.bytes += other.bytes;
        self.roofline_seconds += other.roofline_seconds;
        self.dispatches += other.dispatches;
    }

    /// The same share of everything but the time.
    fn scaled(self, share: f64) -> Self {
        let Self { flops, bytes, roofline_seconds, .. } = self;
        Self { flops: flops * share, bytes: bytes * share, roofline_seconds: roofline_seconds * share, ..self }
    }

    fn per_second(&self, amount: f64) -> f64 {
        if self.seconds > 0.0 { amount / self.seconds } else { 0.0 }
    }

    /// GFLOP/s in direct flops.
    pub fn gflop_per_s(&self) -> f64 {
        self.per_second(self.flops) / 1e9
    }

    /// GB/s of compulsory traffic.
    pub fn gb_per_s(&self) -> f64 {
        self.per_second(self.bytes) / 1e9
    }

    /// Share of the roofline: 1 where nothing that does this work in direct form could be faster.
    pub fn roofline_share(&self) -> f64 {
        self.per_second(self.roofline_seconds)
    }

    /// The figures as they stand in JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "seconds": self.seconds, "flops": self.flops, "bytes": self.bytes, "dispatches": self.dispatches,
            "gflop_per_s": self.gflop_per_s(), "gb_per_s": self.gb_per_s(), "roofline_share": self.roofline_share(),
        })
    }
}

/// A layer's part of one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerMeasure {
    /// Scope in the network.
    pub layer: String,
    /// Part of the training step.
    pub pass: Pass,
    /// Its figures.
    pub measure: Measure,
}

/// A kernel's part of one operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelMeasure {
    /// Name of the shader.
    pub kernel: &'static str,
    /// Operation that uses it.
    pub op: &'static str,
    /// Its figures.
    pub measure: Measure,
}

impl Profile {
    /// All of it.
    pub fn total(&self, roofline: &Roofline) -> Measure {
        let mut total = Measure::default();
        self.steps.iter().for_each(|step| total.add(step.measure(roofline)));
        total
    }

    /// By layer and pass, layers in the order of their first step.
    pub fn layers(&self, roofline: &Roofline) -> Vec<LayerMeasure> {
        let mut order: Vec<&str> = Vec::new();
        let mut rows: Vec<LayerMeasure> = Vec::new();
        for step in &self.steps {
            if !order.contains(&step.layer.as_str()) {
                order.push(&step.layer);
            }
            let measure = step.measure(roofline);
            match rows.iter_mut().find(|r| r.layer == step.layer && r.pass == step.pass) {
                Some(row) => row.measure.add(measure),
                None => rows.push(LayerMeasure { layer: step.layer.clone(), pass: step.pass, measure }),
            }
        }
        rows.sort_by_key(|r| (order.iter().position(|l| *l == r.layer), r.pass));
        rows
    }

    /// By kernel and operation, the longest first. Where an operation has several kernels, its work is divided among them in
    /// proportion to their times.
    pub fn kernels(&self, roofline: &Roofline) -> Vec<KernelMeasure> {
        let mut rows: Vec<KernelMeasure> = Vec::new();
        for step in &self.steps {
            let whole = step.measure(roofline);
            for d in &step.dispatches {
                let share = if whole.seconds > 0.0 { d.seconds / whole.seconds } else { 0.0 };
                let measure = Measure { seconds: d.seconds, dispatches: 1, ..whole.scaled(share) };
                match rows.iter_mut().find(|r| r.kernel == d.kernel && r.op == step.op) {
                    Some(row) => row.measure.add(measure),
                    None => rows.push(KernelMeasure { kernel: d.kernel, op: step.op, measure }),
                }
            }
        }
        rows.sort_by(|a, b| b.measure.seconds.total_cmp(&a.measure.seconds));
        rows
    }
}

impl ProfiledStep {
    fn measure(&self, roofline: &Roofline) -> Measure {
        Measure::of_cost(self.cost, self.seconds(), self.dispatches.len(), roofline)
    }
}

impl Serialize for LayerMeasure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = self.measure.to_json();
        object["layer"] = self.layer.as_str().into();
        object["pass"] = serde_json::to_value(self.pass).expect("a pass is a word");
        object.serialize(serializer)
    }
}

impl Serialize for KernelMeasure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = self.measure.to_json();
        object["kernel"] = self.kernel.into();
        object["op"] = self.op.into();
        object.serialize(serializer)
    }
}
