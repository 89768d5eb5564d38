"""A U-Net of nnU-Net, with a residual or a plain encoder, with trained weights, exported by vnet-engine.

    model = load()                      weights from the .safetensors file beside this one
    logits = model(image)               [N, C, D, H, W] float32 -> [N, classes, D, H, W]; D = z, H = y, W = x
    probabilities = model.probabilities(logits)

The names of `state_dict()` are those of the weights' file: `load_state_dict(..., strict=True)` works both ways. They are those of
`dynamic-network-architectures`, but for the head. PREPROCESSING says how a volume becomes an image: orientation (canonical:
nearest to RAS), crop ("nonzero": to the box of the voxels that are not 0 in some channel), spacing in mm, normalisation, extents of the patch x, y, z, and the names of the classes. Nothing is needed
besides PyTorch.
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


class Unit(nn.Module):
    """Convolution, dropout, normalisation and, unless it is the last of a block, an activation."""

    def __init__(self, options, inputs, channels, kernel, stride, active=True, bias=None):
        super().__init__()
        bias = options["normalisation"] != "instance" if bias is None else bias
        padding = [(k - 1) // 2 for k in kernel]
        self.conv = nn.Conv3d(inputs, channels, kernel, stride, padding, bias=bias)
        self.dropout = nn.Dropout3d(options["dropout"]) if active else nn.Identity()
        self.norm = norm(options, channels)
        self.nonlin = nonlinearity(options, channels) if active else nn.Identity()

    def forward(self, x):
        return self.nonlin(self.norm(self.dropout(self.conv(x))))


class Units(nn.Module):
    """A row of units, of which the first has the stride."""

    def __init__(self, options, inputs, channels, kernel, stride, units):
        super().__init__()
        self.convs = nn.Sequential(
            *(Unit(options, *((channels, channels, kernel, 1) if i else (inputs, channels, kernel, stride))) for i in range(units))
        )

    def forward(self, x):
        return self.convs(x)


class Block(nn.Module):
    """Two units; the input, averaged over windows of the stride and projected where the channels differ, is added."""

    def __init__(self, options, inputs, channels, kernel, stride):
        super().__init__()
        self.conv1 = Unit(options, inputs, channels, kernel, stride)
        self.conv2 = Unit(options, channels, channels, kernel, 1, active=False)
        shortcut = [nn.AvgPool3d(stride, stride)] if math.prod(stride) > 1 else []
        if inputs != channels:
            bias = options["normalisation"] == "batch"
            shortcut.append(Unit(options, inputs, channels, [1, 1, 1], 1, active=False, bias=bias))
        self.skip = nn.Sequential(*shortcut)
        self.nonlin2 = nonlinearity(options, channels)

    def forward(self, x):
        return self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))


class Blocks(nn.Module):
    def __init__(self, options, inputs, channels, kernel, stride, blocks):
        super().__init__()
        self.blocks = nn.Sequential(
            *(Block(options, channels if i else inputs, channels, kernel, [1, 1, 1] if i else stride) for i in range(blocks))
        )

    def forward(self, x):
        return self.blocks(x)


class Encoder(nn.Module):
    def __init__(self, options, in_channels, channels, kernels, strides, counts, residual):
        super().__init__()
        if residual:
            self.stem = Units(options, in_channels, channels[0], kernels[0], 1, 1)
        inputs = [channels[0] if residual else in_channels] + channels[:-1]
        stages = zip(inputs, channels, kernels, strides, counts)
        make = lambda stage: Blocks(options, *stage) if residual else nn.Sequential(Units(options, *stage))
        self.stages = nn.Sequential(*map(make, stages))

    def forward(self, x):
        x = self.stem(x) if hasattr(self, "stem") else x
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class Decoder(nn.Module):
    """Stages from the deepest on: transposed convolution, the skip behind it, units. Heads of lower resolutions only train."""

    def __init__(self, options, channels, kernels, strides, units, classes):
        super().__init__()
        levels = list(reversed(range(len(channels) - 1)))
        ups = [nn.ConvTranspose3d(channels[l + 1], channels[l], strides[l + 1], strides[l + 1]) for l in levels]
        self.transpconvs = nn.ModuleList(ups)
        stages = [Units(options, 2 * channels[l], channels[l], kernels[l], 1, units[l]) for l in levels]
        self.stages = nn.ModuleList(stages)
        if options["deep_supervision"]:
            self.seg_layers = nn.ModuleList(nn.Conv3d(channels[l], classes, 1) for l in levels[:-1])

    def forward(self, skips):
        x = skips.pop()
        for up, stage in zip(self.transpconvs, self.stages):
            x = stage(torch.cat([up(x), skips.pop()], 1))
        return x


class UNet(nn.Module):
    """`blocks` of a residual encoder or `units` of a plain one, per stage, level 0 first. `activation`: softmax of classes that exclude
    each other, or sigmoid of regions that may overlap."""

    def __init__(
        self, in_channels, classes, kind, features=32, most_features=320, blocks=(), units=(), decoder_units=(),
        normalisation="instance", groups=8, nonlinearity="leaky_relu", dropout=0.0, deep_supervision=False, kernels=(),
        strides=(), activation="softmax",
    ):  # fmt: skip
        super().__init__()
        self.activation = activation
        residual = kind == "residual_unet"
        counts = list(blocks if residual else units)
        levels = len(counts)
        kernels = [list(kernel) for kernel in kernels] or [[3, 3, 3]] * levels
        strides = [list(stride) for stride in strides] or [[1, 1, 1]] + [[2, 2, 2]] * (levels - 1)
        decoder = list(decoder_units) or [1 if residual else 2] * (levels - 1)
        channels = [min(features << level, most_features) for level in range(levels)]
        options = dict(
            normalisation=normalisation, groups=groups, nonlinearity=nonlinearity, dropout=dropout,
            deep_supervision=deep_supervision,
        )  # fmt: skip
        self.divisor = [math.prod(axis) for axis in zip(*strides)]
        self.encoder = Encoder(options, in_channels, channels, kernels, strides, counts, residual)
        self.decoder = Decoder(options, channels, kernels, strides, decoder, classes)
        self.head = nn.Conv3d(channels[0], classes, 1)

    def forward(self, image):
        """Extents that do not divide are padded with zeros, half of them (rounded down) before, and cropped back."""
        extents = image.shape[2:]
        before = [-extent % d // 2 for extent, d in zip(extents, self.divisor)]
        after = [-extent % d - b for extent, d, b in zip(extents, self.divisor, before)]
        x = functional.pad(image, [n for pair in zip(before[::-1], after[::-1]) for n in pair])
        window = [slice(b, b + extent) for b, extent in zip(before, extents)]
        return self.head(self.decoder(self.encoder(x)))[(slice(None), slice(None), *window)]

    def probabilities(self, logits):
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


def load(path=None):
    """The network with its weights, by default those beside this file, ready to predict."""
    model = UNet(**NETWORK)
    tensors = read_safetensors(path or pathlib.Path(__file__).with_name(WEIGHTS))
    # Counters that PyTorch keeps and prediction does not read.
    tensors.update((name, t) for name, t in model.state_dict().items() if name.endswith("num_batches_tracked"))
    model.load_state_dict(tensors, strict=True)
    return model.eval()
