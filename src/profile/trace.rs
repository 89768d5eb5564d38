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

/// A complete event. Times are whole nanoseconds, so that an event ends exactly where the next begins and where the one
/// that it is part of ends.
fn complete(name: &str, category: &str, start: f64, end: f64, arguments: &Value) -> Value {
    let [start, end] = [start, end].map(|seconds| (seconds * 1e9).round());
    json!({
        "ph": "X", "pid": 1, "tid": 1, "name": name, "cat": category, "ts": start / 1e3, "dur": (end - start) / 1e3,
        "args": arguments,
    })
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

#[cfg(test)]
mod tests {
    use super::super::{ProfiledDispatch, ProfiledStep};
    use super::*;
    use crate::kernel::Cost;

    #[test]
    fn events_lie_one_within_the_other() {
        let mut start = 0.0;
        let mut step = |layer: &str, pass, dispatches: usize| ProfiledStep {
            layer: layer.to_owned(),
            pass,
            op: "conv3d",
            cost: Cost { flops: 10, bytes: 20 },
            dispatches: (0..dispatches)
                .map(|_| {
                    let dispatch = ProfiledDispatch { kernel: "k", start, seconds: 0.1 + start / 7.0 };
                    start += dispatch.seconds;
                    dispatch
                })
                .collect(),
        };
        let steps = vec![
            step("a", Pass::Forward, 2),
            step("none", Pass::Forward, 0),
            step("b", Pass::Forward, 3),
            step("b", Pass::Backward, 1),
        ];
        let trace = chrome_trace(&Profile { steps }, &json!({ "step": 3 }));
        let events: Vec<&Value> =
            trace["traceEvents"].as_array().expect("events").iter().filter(|e| e["ph"] == "X").collect();
        let of = |category: &str| events.iter().filter(|e| e["cat"] == category).count();
        assert_eq!([of("pass"), of("conv3d"), of("kernel")], [2, 3, 6]);
        let nanoseconds = |e: &Value| {
            let [start, length] = ["ts", "dur"].map(|key| (e[key].as_f64().expect("a number") * 1e3).round());
            (start, start + length)
        };
        for a in &events {
            for b in &events {
                let ((a0, a1), (b0, b1)) = (nanoseconds(a), nanoseconds(b));
                assert!(a1 <= b0 || b1 <= a0 || (a0 >= b0 && a1 <= b1) || (b0 >= a0 && b1 <= a1), "{a} and {b}");
            }
        }
    }
}
