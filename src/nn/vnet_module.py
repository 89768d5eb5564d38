"""V-Net (Milletari, Navab and Ahmadi 2016, arXiv:1606.04797) with trained weights, exported by vnet-engine.

    model = load()                      weights from the .safetensors file beside this one
    logits = model(image)               [N, C, D, H, W] float32 -> [N, classes, D, H, W]; D = z, H = y, W = x
    probabilities = model.probabilities(logits)

The names of `state_dict()` are those of the weights' file: `load_state_dict(..., strict=True)` works both ways.
PREPROCESSING says how a volume becomes an image: crop to the box of its non-zero voxels, if there is that key, orientation (canonical:
nearest to RAS), spacing in mm, normalisation,
extents of the patch x, y, z, and the names of the classes. Nothing is needed besides PyTorch.
"""

import json
import math
import pathlib

import torch
from torch import nn
from torch.nn import functional

NETWORK = {}
PREPROCESSING = {}
WEIGHTS = ""


def norm(options, channels):
    kind = options["normalisation"]
    if kind == "none":
        return nn.Identity()
    if kind == "group":
        return nn.GroupNorm(options["groups"], channels)
    return nn.BatchNorm3d(channels) if kind == "batch" else nn.InstanceNorm3d(channels, affine=True)


def nonlinearity(options, channels):
    kind = options["nonlinearity"]
    kinds = dict(prelu=lambda: nn.PReLU(channels), relu=nn.ReLU, elu=nn.ELU, leaky_relu=lambda: nn.LeakyReLU(0.01))
    return kinds[kind]()


class Stage(nn.Module):
    """Convolutions, each followed by a normalisation, if there is one, and an activation; the input is added before the last
    activation, in the style of MONAI between that and another one."""

    def __init__(self, options, level, in_channels, channels, convolutions, monai):
        super().__init__()
        kernel, bias = options["kernels"][level], options["normalisation"] != "instance"
        if channels % in_channels:
            # The channels of the image cannot be repeated as a whole.
            self.project = nn.Conv3d(in_channels, channels, 1)
        inputs = [in_channels] + [channels] * (convolutions - 1)
        padding = [k // 2 for k in kernel]
        self.conv = nn.ModuleList(nn.Conv3d(i, channels, kernel, padding=padding, bias=bias) for i in inputs)
        self.norm = nn.ModuleList(norm(options, channels) for _ in inputs)
        self.act = nn.ModuleList(nonlinearity(options, channels) for _ in inputs)
        if monai:
            self.sum_act = nonlinearity(options, channels)

    def stage(self, x):
        residual = self.project(x) if hasattr(self, "project") else x
        for conv, norm, act in zip(self.conv[:-1], self.norm[:-1], self.act[:-1]):
            x = act(norm(conv(x)))
        x = self.norm[-1](self.conv[-1](x))
        if residual.shape[1] != x.shape[1]:
            # Channel c of the sum takes channel c mod Cin of the image.
            residual = residual[:, torch.arange(x.shape[1], device=x.device) % residual.shape[1]]
        if hasattr(self, "sum_act"):
            return self.sum_act(self.act[-1](x) + residual)
        return self.act[-1](x + residual)


class Encoder(Stage):
    """Level 0 takes the image; the others reduce the extents first."""

    def __init__(self, options, level, in_channels, base, convolutions):
        channels = base << level
        monai = options["style"] == "monai" and level > 0
        super().__init__(options, level, channels if level else in_channels, channels, convolutions, monai)
        if level:
            stride, bias = options["strides"][level], options["normalisation"] != "instance"
            self.down = nn.Conv3d(channels // 2, channels, stride, stride=stride, bias=bias)
            self.down_norm = norm(options, channels)
            self.down_act = nonlinearity(options, channels)

    def forward(self, x):
        return self.stage(self.down_act(self.down_norm(self.down(x))) if hasattr(self, "down") else x)


class Decoder(Stage):
    """Raises the extents and concatenates the result and the skip."""

    def __init__(self, options, level, in_channels, channels, convolutions):
        super().__init__(options, level, 2 * channels, 2 * channels, convolutions, options["style"] == "monai")
        stride, bias = options["strides"][level + 1], options["normalisation"] != "instance"
        self.up = nn.ConvTranspose3d(in_channels, channels, stride, stride=stride, bias=bias)
        self.up_norm = norm(options, channels)
        self.up_act = nonlinearity(options, channels)

    def forward(self, x, skip):
        return self.stage(torch.cat([self.up_act(self.up_norm(self.up(x))), skip], 1))


class Output(nn.Module):
    """What stands before the head in the style of MONAI."""

    def __init__(self, options, in_channels, classes):
        super().__init__()
        kernel, bias = options["kernels"][0], options["normalisation"] != "instance"
        self.conv = nn.Conv3d(in_channels, classes, kernel, padding=[k // 2 for k in kernel], bias=bias)
        self.norm = norm(options, classes)
        self.act = nonlinearity(options, classes)

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class VNet(nn.Module):
    """`encoder` and `decoder`: convolutions of each stage, level 0 first. `activation`: softmax of classes that exclude each other,
    or sigmoid of regions that may overlap. Dropout and the heads of lower resolutions are for training alone."""

    def __init__(
        self, in_channels, classes, base, encoder, decoder, normalisation="none", groups=8, nonlinearity="prelu", dropout=0.0,
        deep_supervision=False, kernels=(), strides=(), style="paper", activation="softmax",
    ):  # fmt: skip
        super().__init__()
        levels = len(encoder)
        options = dict(normalisation=normalisation, groups=groups, nonlinearity=nonlinearity, style=style)
        options["kernels"] = [list(kernel) for kernel in kernels] or [[5, 5, 5]] * levels
        options["strides"] = [list(stride) for stride in strides] or [[1, 1, 1]] + [[2, 2, 2]] * (levels - 1)
        self.activation = activation
        self.divisor = [math.prod(axis) for axis in zip(*options["strides"])]
        self.encoder = nn.ModuleList(Encoder(options, level, in_channels, base, n) for level, n in enumerate(encoder))
        # The deepest decoder takes the last encoder's channels; the others take those of the decoder below.
        channels = [base << level for level in range(levels)]
        inputs = [2 * c for c in channels[1:-1]] + channels[-1:]
        stages = enumerate(zip(inputs, channels, decoder))
        self.decoder = nn.ModuleList(Decoder(options, level, *stage) for level, stage in stages)
        if deep_supervision:
            heads = {str(level): nn.Conv3d(2 * channels[level], classes, 1) for level in range(1, levels - 1)}
            self.auxiliary = nn.ModuleDict(heads)
        if style == "monai":
            self.output = Output(options, 2 * base, classes)
        self.head = nn.Conv3d(classes if style == "monai" else 2 * base, classes, 1)

    def forward(self, image):
        """Extents that do not divide are padded with zeros, half of them (rounded down) before, and cropped back."""
        extents = image.shape[2:]
        before = [-extent % d // 2 for extent, d in zip(extents, self.divisor)]
        after = [-extent % d - b for extent, d, b in zip(extents, self.divisor, before)]
        x = functional.pad(image, [n for pair in zip(before[::-1], after[::-1]) for n in pair])
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for stage, skip in zip(reversed(self.decoder), reversed(skips[:-1])):
            x = stage(x, skip)
        x = self.output(x) if hasattr(self, "output") else x
        window = [slice(b, b + extent) for b, extent in zip(before, extents)]
        return self.head(x)[(slice(None), slice(None), *window)]

    def probabilities(self, logits):
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


def load(path=None):
    """The network with its weights, by default those beside this file, ready to predict."""
    model = VNet(**NETWORK)
    tensors = read_safetensors(path or pathlib.Path(__file__).with_name(WEIGHTS))
    # Counters that PyTorch keeps and prediction does not read.
    tensors.update((name, t) for name, t in model.state_dict().items() if name.endswith("num_batches_tracked"))
    model.load_state_dict(tensors, strict=True)
    return model.eval()
