// What an invocation of a transform works on: one channel.
alias Element = f32;
// How it lies in memory.
alias Stored = f32;

fn unpacked(value: Stored) -> Element {
    return value;
}

fn packed(value: Element) -> Stored {
    return value;
}
