use super::proto::{
    Content, Dim, Event, Image, PluginData, START, STRING, SessionLog, Summary, SummaryMetadata, TensorProto,
    TensorShape, Value, What,
};
use super::record::write_record;
use crate::files::Appender;
use prost::Message;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Start of the names of event files; the seconds since 1970 follow, then the program.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that is being written. Events that cannot be written, as on a full disk, wait in memory for the next.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: Appender,
}

impl EventFile {
    /// Creates the next event file of a folder; its name sorts after those of the older files. If there are older
    /// files, their events of `first_step` and later steps become void.
    ///
    /// # Errors
    /// The system's.
    pub fn create(folder: &Path, first_step: u64) -> io::Result<Self> {
        let newest = newest(folder)?;
        let seconds = newest.map_or(0, |seconds| seconds + 1).max(now() as u64);
        let path = folder.join(format!("{PREFIX}{seconds:010}.vnet-engine"));
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let mut events = Self { path, file: Appender::new(file, 0) };
        events.write(0, What::FileVersion("brain.Event:2".to_owned()));
        if newest.is_some() {
            events.restart(first_step);
        }
        Ok(events)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Declares the events of this step and of later ones void: the steps are repeated.
    pub fn restart(&mut self, step: u64) {
        self.write(step, What::SessionLog(SessionLog { status: START }));
    }

    /// Numbers of a step.
    pub fn scalars(&mut self, step: u64, value: Vec<Value>) {
        self.write(step, What::Summary(Summary { value }));
    }

    /// A picture; `png` is a PNG file of eight bits RGB.
    pub fn image(&mut self, step: u64, tag: &str, png: Vec<u8>) {
        let extent = |start: usize| {
            let bytes = png.get(start..start + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, i32::from_be_bytes)
        };
        // The header chunk: width and height at bytes 16 and 20.
        let (width, height) = (extent(16), extent(20));
        let image = Image { height, width, colorspace: 3, encoded_image_string: png };
        let value = Value { tag: tag.to_owned(), metadata: None, content: Some(Content::Image(image)) };
        self.scalars(step, vec![value]);
    }

    /// A text in Markdown.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) {
        let plugin_data = Some(PluginData { plugin_name: "text".to_owned() });
        let tensor = TensorProto {
            dtype: STRING,
            tensor_shape: Some(TensorShape { dim: vec![Dim { size: 1 }] }),
            string_val: vec![text.as_bytes().to_vec()],
        };
        let metadata = Some(SummaryMetadata { plugin_data });
        self.scalars(step, vec![Value { tag: tag.to_owned(), metadata, content: Some(Content::Tensor(tensor)) }]);
    }

    /// Writes the events that wait.
    ///
    /// # Errors
    /// The system's, when events still wait.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.append()
    }

    fn write(&mut self, step: u64, what: What) {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = Event { wall_time: now(), step, what: Some(what) };
        write_record(self.file.waiting(), &event.encode_to_vec());
        // `flush` reports a failure.
        let _ = self.file.append();
    }
}

/// A number under a tag.
pub fn scalar(tag: impl Into<String>, value: f64) -> Value {
    Value { tag: tag.into(), metadata: None, content: Some(Content::SimpleValue(value as f32)) }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_millis() as f64 / 1e3)
}

/// Seconds in the name of the newest event file.
fn newest(folder: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let seconds = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('.').next());
        newest = newest.max(seconds.and_then(|seconds| seconds.parse().ok()));
    }
    Ok(newest)
}
