use crate::report::Curves;
use serde_json::Value;

/// The lines of a log that stay when a run that has done `step` steps and was restored `restorations` times goes on: their
/// bytes, and the curves. Lines of later steps, which a process that died after its checkpoint leaves, a line that was cut
/// short, and the end of the run are dropped.
pub(super) fn replay(log: &[u8], step: u64, restorations: u32) -> (u64, Curves) {
    let lines: Vec<(usize, Value)> = log
        .split_inclusive(|b| *b == b'\n')
        .map_while(|line| {
            let event = line.ends_with(b"\n").then(|| serde_json::from_slice(line).ok()).flatten();
            event.map(|event| (line.len(), event))
        })
        .collect();
    // What happened before a restoration stays on record, though its steps are done again.
    let mut restored = (0..lines.len()).filter(|i| lines[*i].1["event"] == "restored");
    let restored = restorations.checked_sub(1).and_then(|before| restored.nth(before as usize));
    let (mut kept, mut curves) = (0, Curves::default());
    for (i, (length, event)) in lines.iter().enumerate() {
        let newest = restored.is_none_or(|r| i > r);
        if newest && (event["event"] == "restored" || !belongs(event, step)) {
            break;
        }
        add(&mut curves, event);
        kept += *length as u64;
    }
    (kept, curves)
}

/// Adds the numbers of an event to the curves.
pub(super) fn add(curves: &mut Curves, event: &Value) {
    let Some(step) = event["step"].as_u64() else { return };
    if event["event"] == "restored" {
        // The steps after this one are done again.
        curves.train.retain(|(s, _)| *s <= step);
        curves.learning_rate.retain(|(s, _)| *s <= step);
        curves.validation.retain(|(s, _)| *s <= step);
    }
    // JSON has no NaN: a loss that is not finite is text.
    let loss = event["loss"].as_f64().or_else(|| event["loss"].as_str()?.parse().ok());
    if let (Some(loss), Some(rate)) = (loss, event["learning_rate"].as_f64()) {
        curves.train.push((step, loss));
        curves.learning_rate.push((step, rate));
    }
    if let Some(dice) = event["dice"].as_array() {
        curves.validation.push((step, dice.iter().map(|d| d.as_f64().unwrap_or(f64::NAN)).collect()));
    }
}

/// Whether a line belongs to a run that goes on after `step`. Lines after the last restoration are in the order of their
/// steps.
fn belongs(event: &Value, step: u64) -> bool {
    let end = ["test", "finished", "early_stop"].iter().any(|name| event["event"] == *name);
    !end && event["step"].as_u64().is_some_and(|s| s <= step)
}

#[cfg(test)]
mod tests {
    use crate::train::log::{Event, Log};
    use serde_json::Value;
    use std::path::Path;

    fn skipped(step: u64) -> Event {
        Event::Skipped { step, loss: "NaN".to_owned(), learning_rate: 0.1, cases: vec!["a".to_owned()] }
    }

    fn steps(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).expect("read");
        text.lines()
            .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["step"].as_u64().expect("a step"))
            .collect()
    }

    #[test]
    fn lines_after_the_step_and_torn_ones_are_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.jsonl");
        let mut log = Log::open(&path, 0, 0).expect("a new log");
        (1..=5).for_each(|step| log.write(&skipped(step)));
        log.flush().expect("written");
        let whole = std::fs::read(&path).expect("read");
        // Cut short at every byte, the log goes on after the last whole line.
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("written");
            let lines = whole[..cut].iter().filter(|b| **b == b'\n').count() as u64;
            let mut log = Log::open(&path, 4, 0).expect("opened");
            log.write(&skipped(9));
            log.flush().expect("written");
            assert_eq!(steps(&path), (1..=lines.min(4)).chain([9]).collect::<Vec<_>>(), "cut at {cut}");
        }
        // Bytes that are no text, in the middle.
        let mut broken = whole.clone();
        let third = whole.split_inclusive(|b| *b == b'\n').take(2).map(<[u8]>::len).sum::<usize>() + 3;
        broken[third] = 0xff;
        std::fs::write(&path, broken).expect("written");
        drop(Log::open(&path, 5, 0).expect("opened"));
        assert_eq!(steps(&path), [1, 2]);
    }

    #[test]
    fn what_led_to_a_restoration_stays_on_record() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.jsonl");
        let mut log = Log::open(&path, 0, 0).expect("a new log");
        (1..=5).for_each(|step| log.write(&skipped(step)));
        log.write(&Event::Restored { step: 2, from: 5, reason: "a test".to_owned(), learning_rate_factor: 0.5 });
        (3..=6).for_each(|step| log.write(&skipped(step)));
        log.flush().expect("written");
        let log = Log::open(&path, 4, 1).expect("opened");
        assert_eq!(steps(&path), [1, 2, 3, 4, 5, 2, 3, 4]);
        let train = log.curves(Vec::new()).train;
        assert!(train.iter().all(|(_, loss)| loss.is_nan()), "{train:?}");
        assert_eq!(train.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 4]);
        // From a checkpoint that knows of no restoration, as when the process died before it was written, nothing of it is left.
        drop(Log::open(&path, 4, 0).expect("opened"));
        assert_eq!(steps(&path), [1, 2, 3, 4]);
    }

    #[test]
    fn the_end_of_a_run_is_dropped_when_it_goes_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.jsonl");
        let mut log = Log::open(&path, 0, 0).expect("a new log");
        log.write(&skipped(1));
        log.write(&Event::EarlyStop { step: 1, best_step: 1 });
        log.write(&Event::Test { step: 1, mean_dice: Some(0.5) });
        log.write(&Event::Finished { step: 1, weights: String::new(), model: String::new() });
        drop(log);
        drop(Log::open(&path, 1, 0).expect("opened"));
        assert_eq!(steps(&path), [1]);
    }
}
