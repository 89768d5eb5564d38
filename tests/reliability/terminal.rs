//! Colours on a terminal.

use super::program::*;
use std::process::Command;

pub const TESTS: [(&str, bool, fn()); 1] = [("no_color_is_respected_on_a_terminal", true, no_color)];

/// What a training shows on a terminal, by `script` of util-linux.
fn on_a_terminal(no_color: bool) -> String {
    let folder = fresh();
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
    let command = start(&data(), &folder.path().join("run"), 6);
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    text(&succeed(&mut script).stdout)
}

fn no_color() {
    let colour = |shown: &str| shown.contains("\u{1b}[36m") || shown.contains("\u{1b}[34m");
    let shown = on_a_terminal(false);
    assert!(colour(&shown), "the bar is coloured: {shown:?}");
    let shown = on_a_terminal(true);
    assert!(shown.contains("6 steps") && !colour(&shown), "{shown:?}");
}
