use super::{Checkpoint, seal};
use std::path::Path;

/// Reads a checkpoint from bytes, then again with a correct checksum, so that the code after that check is reached too.
pub(crate) fn fuzz(bytes: &[u8]) {
    let path = Path::new("c.safetensors");
    let _ = Checkpoint::decode(path, bytes);
    let mut sealed = bytes.to_vec();
    if !seal::has_place(&sealed) {
        return;
    }
    seal::seal(&mut sealed);
    assert!(seal::is_intact(&sealed));
    let Ok(checkpoint) = Checkpoint::decode(path, &sealed) else { return };
    let origin = &checkpoint.state.origin;
    assert!(origin.differences(origin).is_empty());
    origin.differences(&super::Origin { config: String::new(), config_blake3: String::new(), ..origin.clone() });
    let written = checkpoint.encode(path).expect("what was read can be written");
    let again = Checkpoint::decode(path, &written).expect("what was written can be read");
    assert_eq!(again.state, checkpoint.state);
    assert!(!checkpoint.is_finite() || again.tensors == checkpoint.tensors);
}
