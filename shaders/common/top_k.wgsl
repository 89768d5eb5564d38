// The search for the smallest of the n largest losses, digit by digit of eight bits from the highest on. Losses are 0 or more, so
// they are in the order of their bits; those of ignored voxels have the sign.
struct TopK {
    digits: u32, // the digits so far, at their place
    above: u32,  // losses that are larger in these digits
    equal: u32,  // losses that have these digits
    wanted: u32, // n
}

const IGNORED_LOSS: u32 = 0x80000000u;
