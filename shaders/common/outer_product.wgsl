// Sums of products of four input by four output channels, and their way into `partial`. The shader declares `params` with
// in_channels and out_channels, and the binding `partial`.

// sum + x * transpose(g): columns are input channels.
fn outer(sum: mat4x4<f32>, x: vec4<f32>, g: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(
        fma(vec4(x.x), g, sum[0]),
        fma(vec4(x.y), g, sum[1]),
        fma(vec4(x.z), g, sum[2]),
        fma(vec4(x.w), g, sum[3]),
    );
}

fn store_channels(at: u32, step: u32, out_channel: u32, values: vec4<f32>) {
    let count = params.out_channels - min(out_channel, params.out_channels);
    if count > 0u {
        partial[at] = values.x;
    }
    if count > 1u {
        partial[at + step] = values.y;
    }
    if count > 2u {
        partial[at + 2u * step] = values.z;
    }
    if count > 3u {
        partial[at + 3u * step] = values.w;
    }
}

// Writes to `first` + i * in_step + o * out_step.
fn store_products(first: u32, steps: vec2<u32>, channels: vec2<u32>, sum: mat4x4<f32>) {
    let at = first + channels.x * steps.x + channels.y * steps.y;
    let count = params.in_channels - min(channels.x, params.in_channels);
    if count > 0u {
        store_channels(at, steps.y, channels.y, sum[0]);
    }
    if count > 1u {
        store_channels(at + steps.x, steps.y, channels.y, sum[1]);
    }
    if count > 2u {
        store_channels(at + 2u * steps.x, steps.y, channels.y, sum[2]);
    }
    if count > 3u {
        store_channels(at + 3u * steps.x, steps.y, channels.y, sum[3]);
    }
}
