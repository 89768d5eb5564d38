#!/usr/bin/env python3
"""Golden data for normalisation and activation functions, tests/golden/norm.json: values and gradients of PyTorch's modules.

    golden_norm.py

Needs PyTorch (made with 2.15). Everything is computed in float64; numbers that go in are multiples of 1/64, slopes and epsilon powers
of two, so that they are the same in float32. Activations are
[N, D, H, W, C], as the engine has them. Running statistics are those after one training pass from 0 and 1; `prediction` is the
module's output with them. A case without a gradient of the weight is an activation function alone.
"""

import json
from pathlib import Path

import torch
from torch import nn

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "norm.json"
SHAPE = (2, 6, 2, 3, 4)
EPSILON = 2.0**-17
SLOPE = 2.0**-4


def channels_last(tensor):
    return tensor.detach().permute(0, 2, 3, 4, 1).reshape(-1).tolist()


def drawn(random, *shape):
    return torch.round(torch.randn(*shape, generator=random, dtype=torch.float64) * 128) / 64


def case(random, name, norm, act):
    image = (drawn(random, *SHAPE) + 1.5).requires_grad_()
    modules = [module for module in (norm, act) if module is not None]
    network = nn.Sequential(*modules).double()
    found = {"name": name, "shape": [SHAPE[0], *SHAPE[2:], SHAPE[1]], "input": channels_last(image)}
    if norm is not None:
        with torch.no_grad():
            norm.weight.copy_(drawn(random, SHAPE[1]))
            norm.bias.copy_(drawn(random, SHAPE[1]))
        found |= {"weight": norm.weight.tolist(), "bias": norm.bias.tolist()}
    upstream = drawn(random, *SHAPE)
    output = network(image)
    output.backward(upstream)
    found |= {"grad_output": channels_last(upstream), "output": channels_last(output),
              "grad_input": channels_last(image.grad)}
    if norm is not None:
        found |= {"grad_weight": norm.weight.grad.tolist(), "grad_bias": norm.bias.grad.tolist()}
    if isinstance(act, nn.PReLU):
        found |= {"slope": act.weight.tolist(), "grad_slope": act.weight.grad.tolist()}
    if isinstance(norm, nn.BatchNorm3d):
        found |= {"running_mean": norm.running_mean.tolist(), "running_var": norm.running_var.tolist()}
        found["prediction"] = channels_last(network.eval()(image))
    return found


def main():
    random = torch.Generator().manual_seed(16)
    channels = SHAPE[1]
    cases = [
        case(random, "instance", nn.InstanceNorm3d(channels, eps=EPSILON, affine=True), None),
        case(random, "instance leaky_relu", nn.InstanceNorm3d(channels, eps=EPSILON, affine=True), nn.LeakyReLU(SLOPE)),
        case(random, "group relu", nn.GroupNorm(2, channels, eps=EPSILON), nn.ReLU()),
        case(random, "batch", nn.BatchNorm3d(channels, eps=EPSILON), None),
        case(random, "batch prelu", nn.BatchNorm3d(channels, eps=EPSILON), nn.PReLU(channels)),
        case(random, "none elu", None, nn.ELU()),
        case(random, "none leaky_relu", None, nn.LeakyReLU(SLOPE)),
    ]
    OUT.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
