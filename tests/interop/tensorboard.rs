//! Event files of a training, read back record by record.

use super::support::gpu;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::tensorboard::proto::{Content, Event, START, What};
use vnet_engine::tensorboard::record::{masked_crc, write_record};
use vnet_engine::tensorboard::{EventFile, scalar};
use vnet_engine::train::{Config, Preset, Progress, RunSettings, Setting, train};

pub const TESTS: [(&str, bool, fn()); 4] = [
    ("records_come_back_up_to_the_first_that_is_cut_or_changed", false, records),
    ("event_files_follow_each_other_and_void_what_is_done_again", false, files),
    ("a_training_shows_numbers_pictures_and_configuration", true, training),
    ("a_training_without_tensorboard_writes_no_event_file", true, without),
];

/// The messages of whole records with right checksums, up to the first that is not.
fn read_records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((message, rest)) = read_record(bytes) {
        messages.push(message);
        bytes = rest;
    }
    messages
}

fn read_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (message, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (message_crc, rest) = rest.split_first_chunk::<4>()?;
    let right =
        u32::from_le_bytes(*crc) == masked_crc(length) && u32::from_le_bytes(*message_crc) == masked_crc(message);
    right.then_some((message, rest))
}

fn records() {
    let messages: [&[u8]; 3] = [b"one", b"", b"three times as long"];
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| write_record(&mut bytes, message));
    assert_eq!(read_records(&bytes), messages);
    let ends: Vec<usize> = messages
        .iter()
        .scan(0, |end, m| {
            *end += m.len() + 16;
            Some(*end)
        })
        .collect();
    for cut in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(read_records(&bytes[..cut]), messages[..whole], "cut at {cut}");
        let mut changed = bytes.clone();
        changed[cut] ^= 0x10;
        let before = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(read_records(&changed), messages[..before], "changed at {cut}");
    }
}

fn event_files(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("tfevents")).collect();
    files.sort();
    files
}

fn events(file: &Path) -> Vec<Event> {
    let bytes = std::fs::read(file).expect("read");
    let events: Vec<Event> = read_records(&bytes).into_iter().map(|m| Event::decode(m).expect("an event")).collect();
    let whole: usize = events.iter().map(|e| e.encoded_len() + 16).sum();
    assert_eq!(whole, bytes.len(), "every byte belongs to a record");
    assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".to_owned())));
    events
}

/// Steps from which on older events are void.
fn restarts(events: &[Event]) -> Vec<i64> {
    let start = |e: &&Event| matches!(&e.what, Some(What::SessionLog(log)) if log.status == START);
    events.iter().filter(start).map(|e| e.step).collect()
}

fn files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut paths = Vec::new();
    for first_step in [1, 5, 3] {
        let mut file = EventFile::create(folder.path(), first_step).expect("created");
        file.scalars(first_step, vec![scalar("a", 0.5)]);
        file.text(first_step, "words", "some");
        file.flush().expect("written");
        paths.push(file.path().to_owned());
    }
    // In the order of their names, also within a second.
    assert_eq!(event_files(folder.path()), paths);
    let found: Vec<_> = paths.iter().map(|path| restarts(&events(path))).collect();
    assert_eq!(found, [vec![], vec![5], vec![3]]);
    let contents = events(&paths[1]);
    assert_eq!(contents.len(), 4);
    let Some(What::Summary(summary)) = &contents[3].what else { panic!("{:?}", contents[3]) };
    assert_eq!(summary.value[0].metadata.clone().and_then(|m| m.plugin_data).expect("a plugin").plugin_name, "text");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!(contents.iter().all(|e| (now - e.wall_time).abs() < 600.0));
}

struct Quiet;

impl Progress for Quiet {
    fn note(&mut self, text: &str) {
        panic!("{text}");
    }
}

fn settings(folder: &Path, keys: &[&str]) -> RunSettings {
    let phantoms = PhantomSettings { cases: 5, seed: 4, extents: [32, 32, 16], spacing: [4.0, 4.0, 4.5] };
    write_dataset(&folder.join("data"), &phantoms, |_| ()).expect("written");
    let fixed = ["training.steps=4", "training.validate_every=2", "network.encoder=[1,1]", "network.decoder=[1]"];
    let split = "data.split=[0.4,0.2,0.4]";
    let config =
        Config::load(Preset::Tiny, None, &Setting::parse_all(fixed.iter().chain([&split]).chain(keys))).expect("valid");
    RunSettings::new(folder.join("data"), folder.join("run"), config)
}

fn training() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(folder.path(), &[]);
    train(gpu(), &settings, &mut Quiet).expect("trained");
    let [file] = event_files(&settings.out).try_into().expect("one event file");
    let events = events(&file);
    assert_eq!(restarts(&events), [0i64; 0]);
    let mut scalars: BTreeMap<String, BTreeMap<i64, f32>> = BTreeMap::new();
    let (mut pictures, mut texts) = (BTreeSet::new(), String::new());
    for event in events {
        let Some(What::Summary(summary)) = event.what else { continue };
        for value in summary.value {
            match value.content.expect("a content") {
                Content::SimpleValue(number) => {
                    let before = scalars.entry(value.tag.clone()).or_default().insert(event.step, number);
                    assert_eq!(before, None, "{} twice at step {}", value.tag, event.step);
                }
                Content::Image(image) => {
                    assert!(value.tag.starts_with("overlay/phantom_") && image.colorspace == 3);
                    let size = image::load_from_memory(&image.encoded_image_string).expect("a PNG");
                    assert_eq!((size.width() as i32, size.height() as i32), (image.width, image.height));
                    pictures.insert(image.encoded_image_string);
                }
                Content::Tensor(tensor) => texts += &String::from_utf8_lossy(&tensor.string_val[0]),
            }
        }
    }
    let log = std::fs::read_to_string(settings.out.join("log.jsonl")).expect("a log");
    let lines: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let of = |event: &str, key: &str| -> BTreeMap<i64, f32> {
        let lines = lines.iter().filter(|line| line["event"] == event);
        let number = |line: &serde_json::Value| Some((line["step"].as_i64()?, line[key].as_f64()? as f32));
        lines.filter_map(number).collect()
    };
    for key in ["loss", "learning_rate", "gradient_norm"] {
        assert_eq!(scalars[&format!("train/{key}")], of("step", key), "{key}");
    }
    assert_eq!(scalars["train/loss"].keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(scalars["validation/mean_dice"], of("validation", "mean_dice"));
    assert_eq!(scalars["validation/dice/class 1"], scalars["validation/mean_dice"]);
    assert_eq!(scalars["test/mean_dice"].keys().copied().collect::<Vec<_>>(), [4]);
    let overlays = std::fs::read_dir(settings.out.join("overlays")).expect("a folder");
    let overlays: BTreeSet<_> = overlays.map(|e| std::fs::read(e.expect("an entry").path()).expect("read")).collect();
    assert_eq!(pictures, overlays);
    let config = std::fs::read_to_string(settings.out.join("config.toml")).expect("read");
    assert!(texts.contains(config.trim_end()) && texts.contains("\"event\": \"finished\""), "{texts}");
}

fn without() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(folder.path(), &["training.tensorboard=false"]);
    train(gpu(), &settings, &mut Quiet).expect("trained");
    assert_eq!(event_files(&settings.out), Vec::<PathBuf>::new());
}
