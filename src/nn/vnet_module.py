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
import pathlib

import torch
from torch import nn
from torch.nn import functional

NETWORK = {}
PREPROCESSING = {}
WEIGHTS = ""


class Stage(nn.Module):
    """5x5x5 convolutions, each followed by a PReLU per channel; the input is added before the last PReLU."""

    def __init__(self, in_channels, channels, convolutions):
        super().__init__()
        if channels % in_channels:
            # The channels of the image cannot be repeated as a whole.
            self.project = nn.Conv3d(in_channels, channels, 1)
        inputs = [in_channels] + [channels] * (convolutions - 1)
        self.conv = nn.ModuleList(nn.Conv3d(i, channels, 5, padding=2) for i in inputs)
        self.act = nn.ModuleList(nn.PReLU(channels) for _ in inputs)

    def stage(self, x):
        residual = self.project(x) if hasattr(self, "project") else x
        for conv, act in zip(self.conv[:-1], self.act[:-1]):
            x = act(conv(x))
        x = self.conv[-1](x)
        if residual.shape[1] != x.shape[1]:
            # Channel c of the sum takes channel c mod Cin of the image.
            residual = residual[:, torch.arange(x.shape[1], device=x.device) % residual.shape[1]]
        return self.act[-1](x + residual)


class Encoder(Stage):
    """Level 0 takes the image; the others halve the extents first."""

    def __init__(self, level, in_channels, base, convolutions):
        channels = base << level
        super().__init__(channels if level else in_channels, channels, convolutions)
        if level:
            self.down = nn.Conv3d(channels // 2, channels, 2, stride=2)
            self.down_act = nn.PReLU(channels)

    def forward(self, x):
        return self.stage(self.down_act(self.down(x)) if hasattr(self, "down") else x)


class Decoder(Stage):
    """Doubles the extents and concatenates the result and the skip."""

    def __init__(self, in_channels, channels, convolutions):
        super().__init__(2 * channels, 2 * channels, convolutions)
        self.up = nn.ConvTranspose3d(in_channels, channels, 2, stride=2)
        self.up_act = nn.PReLU(channels)

    def forward(self, x, skip):
        return self.stage(torch.cat([self.up_act(self.up(x)), skip], 1))


class VNet(nn.Module):
    """`encoder` and `decoder`: convolutions of each stage, level 0 first. `activation`: softmax of classes that exclude each other,
    or sigmoid of regions that may overlap."""

    def __init__(self, in_channels, classes, base, encoder, decoder, activation="softmax"):
        super().__init__()
        self.activation = activation
        self.divisor = 1 << (len(encoder) - 1)
        self.encoder = nn.ModuleList(Encoder(level, in_channels, base, n) for level, n in enumerate(encoder))
        # The deepest decoder takes the last encoder's channels; the others take those of the decoder below.
        channels = [base << level for level in range(len(encoder))]
        inputs = [2 * c for c in channels[1:-1]] + channels[-1:]
        self.decoder = nn.ModuleList(map(Decoder, inputs, channels, decoder))
        self.head = nn.Conv3d(2 * base, classes, 1)

    def forward(self, image):
        """Extents that do not divide are padded with zeros, half of them (rounded down) before, and cropped back."""
        extents = image.shape[2:]
        before = [-extent % self.divisor // 2 for extent in extents]
        after = [-extent % self.divisor - b for extent, b in zip(extents, before)]
        x = functional.pad(image, [n for pair in zip(before[::-1], after[::-1]) for n in pair])
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for stage, skip in zip(reversed(self.decoder), reversed(skips[:-1])):
            x = stage(x, skip)
        window = [slice(b, b + extent) for b, extent in zip(before, extents)]
        return self.head(x)[(slice(None), slice(None), *window)]

    def probabilities(self, logits):
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


def read_safetensors(path):
    """The float32 tensors of a safetensors file, by name."""
    data = bytearray(pathlib.Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        elements = torch.frombuffer(data, dtype=torch.float32, offset=start + begin, count=(end - begin) // 4)
        tensors[name] = elements.reshape(entry["shape"]).clone()
    return tensors


def load(path=None):
    """The network with its weights, by default those beside this file, ready to predict."""
    model = VNet(**NETWORK)
    path = path or pathlib.Path(__file__).with_name(WEIGHTS)
    model.load_state_dict(read_safetensors(path), strict=True)
    return model.eval()
