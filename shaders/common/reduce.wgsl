// Sums within a workgroup of 256 in a fixed order.
#import element
var<workgroup> partial_sums: array<Element, 256>;

// The sum of `value` over the invocations local, local + width, …, local + (groups - 1) * width, by halves, for
// local < width; what the others get means nothing. Needs width * groups <= 256 and uniform control flow.
fn sum_groups(local: u32, width: u32, groups: u32, value: Element) -> Element {
    partial_sums[local] = value;
    for (var remaining = groups; remaining > 1u;) {
        workgroupBarrier();
        let half = (remaining + 1u) / 2u;
        if local < (remaining - half) * width {
            partial_sums[local] += partial_sums[local + half * width];
        }
        remaining = half;
    }
    let total = partial_sums[local];
    workgroupBarrier();
    return total;
}
