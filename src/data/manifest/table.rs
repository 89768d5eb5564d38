//! The rows of a CSV text, with the lines in which they are.

/// The rows of a text, with their lines.
pub(super) struct Table<'a> {
    reader: csv::Reader<&'a [u8]>,
    text: &'a [u8],
    /// A byte of the text and the line in which it is: what is before has been counted.
    counted: (usize, u64),
}

impl<'a> Table<'a> {
    pub(super) fn of(text: &'a str) -> Table<'a> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
        let mut builder = csv::ReaderBuilder::new();
        let reader = builder.has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
        Table { reader, text, counted: (0, 1) }
    }

    /// The next row that is not empty, and its line.
    pub(super) fn next_row(&mut self) -> Option<(u64, Vec<String>)> {
        let mut record = csv::StringRecord::new();
        // The text is UTF-8, and rows of any length are taken: no other error is left.
        while self.reader.read_record(&mut record).unwrap_or(false) {
            let start = record.position().map_or(0, csv::Position::byte) as usize;
            let line = self.line_of(start);
            // Spreadsheets write lines of commas below a table.
            if record.iter().any(|cell| !cell.is_empty()) {
                return Some((line, record.iter().map(str::to_owned).collect()));
            }
        }
        None
    }

    /// The line of a row that starts at this byte or after the empty lines there. Lines end in LF, CR LF or CR.
    fn line_of(&mut self, start: usize) -> u64 {
        let (mut at, mut line) = self.counted;
        while let Some(byte) = self.text.get(at).filter(|byte| at < start || matches!(byte, b'\n' | b'\r')) {
            let ends = *byte == b'\n' || (*byte == b'\r' && self.text.get(at + 1) != Some(&b'\n'));
            (at, line) = (at + 1, line + u64::from(ends));
        }
        self.counted = (at, line);
        line
    }
}
