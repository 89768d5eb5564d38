use super::{Log, StepResult, TrainError};
use crate::report::Curves;
use serde_json::Value;
use std::path::Path;

/// What the curves show: kept in memory, and read back from the log when a run goes on.
#[derive(Debug, Default)]
pub(super) struct History {
    curves: Curves,
}

impl History {
    /// Opens the log of a run that has done `step` steps and was restored `restorations` times. Lines of later steps,
    /// which a process that died behind the checkpoint leaves, a line that was cut short, and the end of a run that now
    /// goes on are dropped; those before are read.
    pub(super) fn open(path: &Path, step: u64, restorations: u32) -> Result<(Log, Self), TrainError> {
        let mut history = Self::default();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TrainError::Io { path: path.to_owned(), action: "read the log", source }),
        };
        let lines: Vec<(usize, Value)> = bytes
            .split_inclusive(|b| *b == b'\n')
            .map_while(|line| {
                let event = line.ends_with(b"\n").then(|| serde_json::from_slice(line).ok()).flatten();
                event.map(|event| (line.len(), event))
            })
            .collect();
        // What happened before a restoration stays on record, though its steps are done again.
        let mut restored = (0..lines.len()).filter(|i| lines[*i].1["event"] == "restored");
        let restored = restorations.checked_sub(1).and_then(|before| restored.nth(before as usize));
        let mut kept = 0;
        for (i, (length, event)) in lines.iter().enumerate() {
            let newest = restored.is_none_or(|r| i > r);
            if newest && (event["event"] == "restored" || !belongs(event, step)) {
                break;
            }
            history.replay(event);
            kept += *length as u64;
        }
        Ok((Log::open(path, kept)?, history))
    }

    fn replay(&mut self, event: &Value) {
        let Some(step) = event["step"].as_u64() else { return };
        if event["event"] == "restored" {
            self.restored(step);
        }
        // JSON has no NaN: a loss that is not finite is text.
        let loss = event["loss"].as_f64().or_else(|| event["loss"].as_str()?.parse().ok());
        if let (Some(loss), Some(rate)) = (loss, event["learning_rate"].as_f64()) {
            self.curves.train.push((step, loss));
            self.curves.learning_rate.push((step, rate));
        }
        if let Some(dice) = event["dice"].as_array() {
            self.curves.validation.push((step, dice.iter().map(|d| d.as_f64().unwrap_or(f64::NAN)).collect()));
        }
    }

    /// The training went back to this step: what was behind it is done again.
    pub(super) fn restored(&mut self, step: u64) {
        self.curves.train.retain(|(s, _)| *s <= step);
        self.curves.learning_rate.retain(|(s, _)| *s <= step);
        self.curves.validation.retain(|(s, _)| *s <= step);
    }

    pub(super) fn step(&mut self, result: &StepResult) {
        self.curves.train.push((result.step, result.loss));
        self.curves.learning_rate.push((result.step, result.learning_rate));
    }

    pub(super) fn validation(&mut self, step: u64, dice: &[Option<f64>]) {
        self.curves.validation.push((step, dice.iter().map(|d| d.unwrap_or(f64::NAN)).collect()));
    }

    pub(super) fn curves(&self, class_names: Vec<String>) -> Curves {
        Curves { class_names, ..self.curves.clone() }
    }
}

/// Whether a line was written before a run went on behind `step`. Lines behind the last restoration are in the order of
/// their steps.
fn belongs(event: &Value, step: u64) -> bool {
    let end = ["test", "finished", "early_stop"].iter().any(|name| event["event"] == *name);
    !end && event["step"].as_u64().is_some_and(|s| s <= step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Event;

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
    fn lines_behind_the_step_and_torn_ones_are_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.jsonl");
        let (mut log, _) = History::open(&path, 0, 0).expect("a new log");
        (1..=5).for_each(|step| log.write(&skipped(step)));
        log.flush().expect("written");
        let whole = std::fs::read(&path).expect("read");
        // Cut short at every byte, the log goes on behind the last whole line.
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("written");
            let lines = whole[..cut].iter().filter(|b| **b == b'\n').count() as u64;
            let (mut log, _) = History::open(&path, 4, 0).expect("opened");
            log.write(&skipped(9));
            log.flush().expect("written");
            assert_eq!(steps(&path), (1..=lines.min(4)).chain([9]).collect::<Vec<_>>(), "cut at {cut}");
        }
        // Bytes that are no text, in the middle.
        let mut broken = whole.clone();
        let third = whole.split_inclusive(|b| *b == b'\n').take(2).map(<[u8]>::len).sum::<usize>() + 3;
        broken[third] = 0xff;
        std::fs::write(&path, broken).expect("written");
        drop(History::open(&path, 5, 0).expect("opened"));
        assert_eq!(steps(&path), [1, 2]);
    }

    #[test]
    fn what_led_to_a_restoration_stays_on_record() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.jsonl");
        let (mut log, _) = History::open(&path, 0, 0).expect("a new log");
        (1..=5).for_each(|step| log.write(&skipped(step)));
        log.write(&Event::Restored { step: 2, from: 5, reason: "a test".to_owned(), learning_rate_factor: 0.5 });
        (3..=6).for_each(|step| log.write(&skipped(step)));
        log.flush().expect("written");
        let (_, history) = History::open(&path, 4, 1).expect("opened");
        assert_eq!(steps(&path), [1, 2, 3, 4, 5, 2, 3, 4]);
        let train = history.curves(Vec::new()).train;
        assert!(train.iter().all(|(_, loss)| loss.is_nan()), "{train:?}");
        assert_eq!(train.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 4]);
        // From a checkpoint that knows of no restoration, as when the process died before it was written, nothing of it is left.
        drop(History::open(&path, 4, 0).expect("opened"));
        assert_eq!(steps(&path), [1, 2, 3, 4]);
    }

    #[test]
    fn the_end_of_a_run_is_dropped_when_it_goes_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log.jsonl");
        let (mut log, _) = History::open(&path, 0, 0).expect("a new log");
        log.write(&skipped(1));
        log.write(&Event::EarlyStop { step: 1, best_step: 1 });
        log.write(&Event::Test { step: 1, mean_dice: Some(0.5) });
        log.write(&Event::Finished { step: 1, weights: String::new(), model: String::new() });
        drop(log);
        drop(History::open(&path, 1, 0).expect("opened"));
        assert_eq!(steps(&path), [1]);
    }
}
