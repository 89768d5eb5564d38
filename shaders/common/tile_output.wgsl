// Reading four weights or biases and writing four output channels, where the last block may be cut short. The shader
// declares `params` with out_channels, out_step and with_bias, and the bindings `weight`, `bias` and `output`.

fn weight_at(base: u32, channel: u32) -> f32 {
    if channel < params.out_channels {
        return weight[base + channel * params.out_step];
    }
    return 0.0;
}

fn weights_at(base: u32, channel: u32) -> vec4<f32> {
    return vec4(
        weight_at(base, channel),
        weight_at(base, channel + 1u),
        weight_at(base, channel + 2u),
        weight_at(base, channel + 3u),
    );
}

fn bias_at(channel: u32) -> f32 {
    if params.with_bias != 0u && channel < params.out_channels {
        return bias[channel];
    }
    return 0.0;
}

fn biases_at(channel: u32) -> vec4<f32> {
    return vec4(bias_at(channel), bias_at(channel + 1u), bias_at(channel + 2u), bias_at(channel + 3u));
}

fn store_channels(voxel: u32, channel: u32, values: vec4<f32>) {
    let at = voxel * params.out_channels + channel;
    let count = params.out_channels - min(channel, params.out_channels);
    if count > 0u {
        output[at] = values.x;
    }
    if count > 1u {
        output[at + 1u] = values.y;
    }
    if count > 2u {
        output[at + 2u] = values.z;
    }
    if count > 3u {
        output[at + 3u] = values.w;
    }
}
