//! Entries of a cache of prepared volumes that are not what they seem. The checksums of their headers are put right, so that
//! what follows is read.

use vnet_engine::fuzzing;

const GRID: &str =
    r#""grid":{"extents":[5,4,3],"spacing":[1.0,2.0,3.0],"affine":[[1.0,0,0,0],[0,2.0,0,0],[0,0,3.0,0]]}"#;

fn array(name: &str, start: u64, bytes: u64) -> String {
    format!(r#"{{"name":"{name}","start":{start},"bytes":{bytes},"blake3":""}}"#)
}

/// An entry with this header; the checksum of the header is left to the target.
fn entry(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"VNET-PREPARED-LE".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend([0; 32]);
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    bytes.extend(data);
    bytes
}

fn header(grid: &str, arrays: &[String]) -> String {
    format!(r#"{{"key":"k",{grid},"arrays":[{}]}}"#, arrays.join(","))
}

/// What a training on 5 x 4 x 3 voxels writes: 60 intensities and labels, and two classes with a count each.
fn arrays() -> Vec<String> {
    vec![
        array("image", 0, 240),
        array("label", 256, 120),
        array("foreground_classes", 384, 4),
        array("foreground", 448, 8),
    ]
}

fn data() -> Vec<u8> {
    let mut data: Vec<u8> = (0..456u32).map(|byte| (byte * 37 % 251) as u8).collect();
    data[384..388].copy_from_slice(&[1, 0, 2, 0]);
    data[448..456].copy_from_slice(&[30, 0, 0, 0, 255, 255, 255, 255]);
    data
}

#[test]
fn entries_of_a_cache() {
    let whole = entry(&header(GRID, &arrays()), &data());
    assert!(fuzzing::cache_entry(&whole), "it is read to its end");
    for length in 0..whole.len() {
        assert!(!fuzzing::cache_entry(&whole[..length]), "{length} bytes");
    }
    for at in 0..whole.len() {
        for bits in [0x01, 0x10, 0x80, 0xFF] {
            let mut changed = whole.clone();
            changed[at] ^= bits;
            fuzzing::cache_entry(&changed);
        }
    }
    let most = u64::MAX;
    for arrays in [
        vec![array("image", 0, most), array("label", most, 1)],
        vec![array("image", most - 63, 64), array("label", 0, 1 << 40)],
        vec![
            array("image", 1, 239),
            array("label", 3, 120),
            array("foreground", 0, 7),
            array("foreground_classes", 0, 3),
        ],
        vec![array("image", 0, 0), array("image", 0, 456)],
        vec![array("reference", 0, 455), array("quantiles", 0, 1024), array("means", 0, 4)],
        Vec::new(),
    ] {
        fuzzing::cache_entry(&entry(&header(GRID, &arrays), &data()));
    }
    for extents in ["[0,4,3]", "[4294967295,4294967295,4294967295]", "[5,4,3,1]", "[-5,4,3]", "[1e9,4,3]", "[60,1,1]"] {
        fuzzing::cache_entry(&entry(&header(&GRID.replace("[5,4,3]", extents), &arrays()), &data()));
    }
    for spacing in ["[0.0,2.0,3.0]", "[1e-300,2.0,3.0]", "[1e308,1e308,1e308]", "[-1.0,2.0,3.0]", "[1e999,2,3]"] {
        fuzzing::cache_entry(&entry(&header(&GRID.replace("[1.0,2.0,3.0]", spacing), &arrays()), &data()));
    }
    for text in ["", "{", "null", "[]", &"[".repeat(60_000), &format!("\"{}\"", "x".repeat(60_000))] {
        fuzzing::cache_entry(&entry(text, &data()));
    }
}
