// Where an invocation stands, in a grid of workgroups that may be folded to stay within the limit per dimension.
struct Invocation {
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
}

// Number of a workgroup in a folded grid.
fn linear_workgroup(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.x + grid.x * (workgroup.y + grid.y * workgroup.z);
}

fn workgroup_number(invocation: Invocation) -> u32 {
    return linear_workgroup(invocation.workgroup, invocation.grid);
}
