use super::{Pass, Profile};
use serde_json::{Value, json};

/// The profile as a Chrome trace (chrome://tracing, Perfetto): passes, layers and dispatches, one within the other.
/// `about` says of which device and program.
///
/// Format: "Trace Event Format", complete events, in microseconds.
pub fn chrome_trace(profile: &Profile, about: &Value) -> Value {
    let mut events = vec![
        json!({ "ph": "M", "name": "process_name", "pid": 1, "args": { "name": "vnet-engine" } }),
        json!({ "ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": { "name": "device" } }),
    ];
    for (pass, start, end) in passes(profile) {
        events.push(complete(&pass, "pass", start, end, &json!({})));
    }
    for step in &profile.steps {
        let (Some(first), Some(last)) = (step.dispatches.first(), step.dispatches.last()) else { continue };
        let seconds = step.seconds().max(1e-12);
        let arguments = json!({
            "operation": step.op, "flops": step.cost.flops, "bytes": step.cost.bytes,
            "gflop_per_s": step.cost.flops as f64 / seconds / 1e9,
        });
        events.push(complete(&step.layer, step.op, first.start, last.start + last.seconds, &arguments));
        for d in &step.dispatches {
            events.push(complete(d.kernel, "kernel", d.start, d.start + d.seconds, &json!({ "layer": step.layer })));
        }
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": about })
}

fn complete(name: &str, category: &str, start: f64, end: f64, arguments: &Value) -> Value {
    let (start, end) = (start * 1e6, end * 1e6);
    json!({ "ph": "X", "pid": 1, "tid": 1, "name": name, "cat": category, "ts": start, "dur": end - start, "args": arguments })
}

/// Runs of steps of one pass: name, start and end.
fn passes(profile: &Profile) -> Vec<(String, f64, f64)> {
    let steps = profile.steps.iter().filter(|s| !s.dispatches.is_empty()).collect::<Vec<_>>();
    let name = |pass: Pass| format!("{pass:?}").to_lowercase();
    let runs = steps.chunk_by(|a, b| a.pass == b.pass);
    let ends = runs.filter_map(|run| {
        let first = run.first()?.dispatches.first()?;
        let last = run.last()?.dispatches.last()?;
        Some((name(run[0].pass), first.start, last.start + last.seconds))
    });
    ends.collect()
}
