// Writing the frequencies of a plane of the output's gradient, of which each line is transformed already.
#import winograd_store

struct GradientLines {
#each y in OUTPUTS_Y
    l{y}: FrequenciesX,
#end
}

fn store_gradients(at: u32, step: u32, lines: GradientLines) {
#each x in FREQUENCIES_X
    store_column({x}u, at, step, transform_grad_y(OutputsY(
#each y in OUTPUTS_Y
        lines.l{y}.f{x},
#end
    )));
#end
}
