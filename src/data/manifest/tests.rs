use super::*;

fn read(text: &str) -> Result<Manifest, String> {
    Manifest::from_text(Path::new("sets/cases.csv"), text).map_err(|error| error.to_string())
}

#[test]
fn quotes_marks_line_ends_and_letters_are_those_of_spreadsheets() {
    let plain = "image,label,split,name\nscans/a b.nii.gz,/abs/ü.nii.gz,train,\n\"x, \"\"1\"\".mha\",,Test,second\n";
    let expected = read(plain).expect("a table").rows;
    let facts: Vec<_> = expected.iter().map(|row| (row.name.as_str(), row.part, row.line)).collect();
    assert_eq!(facts, [("a b", Some(Part::Train), 2), ("second", Some(Part::Test), 3)]);
    assert_eq!(expected[0].image.first(), Path::new("sets/scans/a b.nii.gz"));
    assert_eq!(expected[0].label.as_deref(), Some(Path::new("/abs/ü.nii.gz")));
    assert_eq!(expected[1].image.first(), Path::new("sets/x, \"1\".mha"));
    assert_eq!(expected[1].label, None);
    for other in [
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        plain.trim_end().to_owned(),
        plain.replace("image,label", "Image , LABEL"),
        format!("{plain},,,\n,,,\n\n"),
    ] {
        assert_eq!(read(&other).expect("a table").rows, expected, "{other:?}");
    }
    // A line of its own for each row that is empty, whatever ends it.
    let far = read("\n\nimage\r\n\r\n\r\na.nii\n\n\"b.nii\"\n").expect("a table").rows;
    assert_eq!(far.iter().map(|row| row.line).collect::<Vec<_>>(), [6, 8]);
}

#[test]
fn a_case_has_a_file_for_each_channel_in_their_order() {
    let text = "image_1,label,image_0\nb_0001.nii.gz,l.nii.gz,b_0000.nii.gz\n";
    let rows = read(text).expect("a table").rows;
    let files = ["sets/b_0000.nii.gz", "sets/b_0001.nii.gz"].map(PathBuf::from);
    assert_eq!((rows[0].name.as_str(), rows[0].image.files()), ("b", &files[..]));
    let rows = read("image\nb_0000.nii.gz\n").expect("a table").rows;
    assert_eq!(rows[0].name, "b_0000", "a number of a series of patients stays");
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    let many = format!("image,split\n{}", "a.nii,x\n".repeat(30));
    for (text, words) in [
        ("", "is empty, expected a line"),
        ("\u{feff}\n\n", "is empty"),
        ("image,label\n", "has no cases"),
        (
            "image;label\na.nii;b.nii\n",
            "line 1: \"image;label\" is one column; expected columns that are separated by commas, not by semicolons",
        ),
        ("image\tlabel\n", "not by tabs"),
        (
            "image,mask\na.nii,b.nii\n",
            "line 1: column 2 is \"mask\", expected image (or image_0, image_1, …), label, split or name; is label meant?",
        ),
        ("image,seg\n", "is label meant?"),
        ("image,splt\n", "is split meant?"),
        ("image,age\n", "column 2 is \"age\", expected"),
        ("label,split\n", "no column image"),
        ("image,image\n", "column image is there twice"),
        ("image,image_0\n", "columns image and image_0"),
        ("image_0,image_2\n", "column image_2 and no image_1"),
        ("image_64\n", "column image_64, expected at most 64 channels"),
        ("image_99999999999999999999\n", "column 1 is \"image_99999999999999999999\""),
        (
            "image,split\na.nii,val\n",
            "line 2: column split is \"val\", expected train, validation or test, or nothing; is validation meant?",
        ),
        ("image,split\na.nii,3\n", "column split is \"3\", expected train, validation or test, or nothing"),
        ("image,label\n,b.nii\n", "line 2: column image is empty, expected a file"),
        ("image_0,image_1\na.nii,\n", "line 2: column image_1 is empty"),
        ("image,label\na.nii\n", "line 2: 1 cells, expected 2 as in the first line"),
        (
            "image,label\na,b.nii,c.nii\n",
            "line 2: 3 cells, expected 2 as in the first line; a text with a comma needs quotation marks",
        ),
        (
            "image,label\n\"a.nii,b.nii\nc.nii,d.nii\n",
            "line 2: column image has a control character or a line break after \"a.nii,b.nii\"",
        ),
        ("image\na.nii\0\n", "line 2: column image has a control character"),
        (
            "image\nx/a.nii\ny/a.nii.gz\n",
            "line 3: case \"a\" is in line 2 too; expected another name, which a column name can give",
        ),
        ("image,name\na.nii,../b\n", "line 2: the case is named \"../b\", expected a file name"),
        ("image,name\na.nii,.b\n", "no dot first"),
        (&many, "and 10 more problems"),
    ] {
        let message = read(text).expect_err(words);
        assert!(message.starts_with("sets/cases.csv: ") && message.contains(words), "{text:?}: {message}");
    }
}

/// Texts of pieces that mean something in a table: whatever they make, there is an end, and an error names the table.
#[test]
fn any_text_ends_in_rows_or_in_a_message() {
    use crate::random::{Purpose, Stream};
    let pieces = [
        "image", "image_0", "image_1", "label", "split", "name", ",", ",", ",", "\n", "\n", "\r", "\"", "\"\"",
        "a.nii", "b.nii.gz", "/", "..", "train", "test", "\u{feff}", "\0", " ", ";", "ä", "\u{301}", "\t",
    ];
    let mut read_whole = 0;
    for number in 0..20_000 {
        let mut stream = Stream::new(5, Purpose::Split, number);
        let mut text = if number % 2 == 0 { "image,label,split\n".to_owned() } else { String::new() };
        (0..stream.below(24)).for_each(|_| text += pieces[stream.below(pieces.len())]);
        match read(&text) {
            Ok(manifest) => {
                read_whole += 1;
                assert!(manifest.rows.is_sorted_by(|one, next| one.name < next.name));
            }
            Err(message) => assert!(message.starts_with("sets/cases.csv: "), "{message}"),
        }
    }
    assert!(read_whole > 50, "{read_whole}");
}
