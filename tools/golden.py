#!/usr/bin/env python3
"""Golden data for vnet-engine: V-Net in PyTorch, and what it computes on inputs that Rust can make again.

    golden.py make                       write tests/golden (five minutes on one core)
    golden.py salt CASE                  search a salt for a case after changing it
    golden.py check MODEL.safetensors    load one of the engine's checkpoints (strict), forward a hash image
    golden.py write OUT.safetensors      a checkpoint made by PyTorch, which the engine must load

Needs Python 3.11 and PyTorch; nothing here uses a GPU, but the Linux wheel on PyPI does not import without its
CUDA dependencies, so install it whole (5.4 GB):

    python3.11 -m venv torchenv && torchenv/bin/pip install torch numpy safetensors

The network is that of Milletari, Navab, Ahmadi, "V-Net", 2016 (arXiv:1606.04797). What is written down as truth is
computed in float64 from float32 parameters; docs/numerics.md derives the bounds that are stored with it.

How the hash works
------------------
Parameters, images and labels are functions of (tensor name, element index in C order, salt). All arithmetic is on
unsigned 32-bit integers that wrap:

    fnv1a32(bytes)      h = 0x811C9DC5; for each byte: h = (h xor byte) * 0x01000193
    fmix32(h)           h ^= h >> 16; h *= 0x85EBCA6B; h ^= h >> 13; h *= 0xC2B2AE35; h ^= h >> 16    (MurmurHash3)
    hash(name, i, salt) = fmix32(fmix32(fnv1a32(name) xor salt) + i)
    unit(h)             = (2 * (h >> 8) + 1 - 2^24) / 2^24     as f32: exact, odd / 2^24, in (-1, 1), never zero
    value               = unit(h) * scale + offset             f32 product rounded, then f32 sum rounded: no fma

scale and offset are f32 and stand in the sidecar per parameter. The offset is 0.25 for PReLU slopes (scale 0.25) and
0 otherwise; adding 0 changes nothing. The image is the tensor "image" with scale 1. Worked examples:

    hash("encoder.0.conv.0.weight", 0, 1)      = 0x7B610F17   unit =  -605665 / 2^24 = -0.036100447 (0xBD13DE10)
    hash("decoder.1.up_act.weight", 3, 7)      = 0x33E4193B   unit = -9975757 / 2^24 = -0.59460145  (0xBF1837CD)
    hash("image", 1000, 12)                    = 0x36DB6273   unit = -9587003 / 2^24 = -0.57142991  (0xBF12493B)

Labels of sample n, extents E = (D, H, W), in integers: for each class k = 1 .. classes-1, h_j = hash("labels.{n}.{k}",
j, salt), axis d = 0, 1, 2: centre c_d = E_d / 4 + h_d mod (E_d / 2), radius r_d = E_d / 4 + h_(3+d) mod (E_d / 4) + 1
(integer divisions); voxels with sum_d ((p_d - c_d) * r_e * r_f)^2 <= (r_0 r_1 r_2)^2 (e, f the other axes) become k,
later classes over earlier ones. Then with h = hash("labels.noise", i, salt), i the index in (N, D, H, W): where
h mod 16 = 0 the label becomes (h / 16) mod classes.

A checksum in the sidecar is fnv1a32 over the tensor's little-endian bytes (float32; labels uint8).
"""

import argparse
import functools
import itertools
import json
import math
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

U = 2.0**-24  # unit roundoff of float32, to nearest
STEPS = 10
MOVED_RUNS = 24
SAFETY = 10.0  # on the worst of the moved runs
OUTLIER = 7.0  # times the median of the moved runs: no rounding error, but a decision taken otherwise
WINOGRAD_AMPLIFICATION = 162.3  # F(4,5)^3 on 0, +-1, +-2, +-1/2, infinity, worst output of a tile; docs/numerics.md
WINOGRAD_ADDITIONS = 24  # additions of the transforms that one output passes through


# ---- the hash -------------------------------------------------------------------------------------------------------


def fnv1a32(data):
    """FNV-1a of some bytes."""
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def fmix32(h):
    """The finaliser of MurmurHash3, on an array of uint32."""
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hash_u32(name, count, salt):
    """hash(name, 0 .. count-1, salt)."""
    key = fmix32(np.array([fnv1a32(name.encode()) ^ salt], np.uint32))
    return fmix32(key + np.arange(count, dtype=np.uint32))


def hash_tensor(name, shape, salt, scale=1.0, offset=0.0):
    """unit(hash) * scale + offset in float32."""
    numerator = 2 * (hash_u32(name, math.prod(shape), salt) >> np.uint32(8)).astype(np.int64) + 1 - 2**24
    unit = numerator.astype(np.float32) * np.float32(2.0**-24)
    return (unit * np.float32(scale) + np.float32(offset)).reshape(shape)


def hash_labels(batch, extents, classes, salt):
    """Overlapping ellipsoids with some noise, asymmetric on purpose; see the top of the file."""
    labels = np.zeros((batch, *extents), np.int64)
    position = np.meshgrid(*map(np.arange, extents), indexing="ij")
    for n, k in itertools.product(range(batch), range(1, classes)):
        h = hash_u32(f"labels.{n}.{k}", 6, salt).astype(np.int64)
        centre = [e // 4 + h[d] % (e // 2) for d, e in enumerate(extents)]
        radius = [e // 4 + h[3 + d] % (e // 4) + 1 for d, e in enumerate(extents)]
        product = math.prod(radius)
        distance = sum(((p - c) * (product // r)) ** 2 for p, c, r in zip(position, centre, radius))
        labels[n][distance <= product**2] = k
    h = hash_u32("labels.noise", labels.size, salt).reshape(labels.shape)
    return np.where(h % 16 == 0, (h // 16) % classes, labels)


# ---- the network ----------------------------------------------------------------------------------------------------


def padding(extents, levels):
    """(before, after) per axis, of zeros: total p to the next multiple of 2^(levels-1), floor(p/2) of it before."""
    totals = [-e % (1 << (levels - 1)) for e in extents]
    return [(p // 2, p - p // 2) for p in totals]


def tiled(x, channels):
    """Channel c takes c mod Cin, which divides. A single channel is left to broadcasting, which copies nothing."""
    return x if x.shape[1] in (1, channels) else x[:, torch.arange(channels) % x.shape[1]]


class Stage(nn.Module):
    """n times 5^3 convolution and PReLU; the input is added before the last PReLU: tiled, or projected where its channels
    do not divide."""

    def __init__(self, channels_in, channels, convolutions):
        super().__init__()
        if channels % channels_in:
            self.project = nn.Conv3d(channels_in, channels, 1)
        inputs = [channels_in] + [channels] * (convolutions - 1)
        self.conv = nn.ModuleList(nn.Conv3d(i, channels, 5, padding=2) for i in inputs)
        self.act = nn.ModuleList(nn.PReLU(channels) for _ in inputs)

    def stage(self, x):
        y = x
        for conv, act in zip(self.conv[:-1], self.act[:-1]):
            y = act(conv(y))
        y = self.conv[-1](y)
        return self.act[-1](y + (self.project(x) if hasattr(self, "project") else tiled(x, y.shape[1])))


class Encoder(Stage):
    """[2^3 stride-2 convolution, PReLU,] stage."""

    def __init__(self, level, in_channels, base, convolutions):
        channels = base << level
        super().__init__(channels if level else in_channels, channels, convolutions)
        if level:
            self.down = nn.Conv3d(channels // 2, channels, 2, stride=2)
            self.down_act = nn.PReLU(channels)

    def forward(self, x):
        return self.stage(self.down_act(self.down(x)) if hasattr(self, "down") else x)


class Decoder(Stage):
    """2^3 stride-2 transposed convolution, PReLU, concatenation [up, skip], stage."""

    def __init__(self, channels_in, channels, convolutions):
        super().__init__(2 * channels, 2 * channels, convolutions)
        self.up = nn.ConvTranspose3d(channels_in, channels, 2, stride=2)
        self.up_act = nn.PReLU(channels)

    def forward(self, x, skip):
        return self.stage(torch.cat([self.up_act(self.up(x)), skip], 1))


class VNet(nn.Module):
    """Logits (N, classes, D, H, W); parameter names are the contract's."""

    def __init__(self, in_channels, classes, base, encoder, decoder):
        super().__init__()
        deepest = len(encoder) - 1
        if deepest < 1 or len(decoder) != deepest:
            raise ValueError("need levels >= 2 and one decoder fewer than encoders")
        self.encoder = nn.ModuleList(Encoder(l, in_channels, base, n) for l, n in enumerate(encoder))
        self.decoder = nn.ModuleList(
            Decoder((2 * base << l) * (1 if l == deepest - 1 else 2), base << l, n) for l, n in enumerate(decoder)
        )
        self.head = nn.Conv3d(2 * base, classes, 1)

    def forward(self, x):
        pads = padding(x.shape[2:], len(self.encoder))
        extents = x.shape[2:]
        x = F.pad(x, [p for pair in reversed(pads) for p in pair])
        skips = []
        for encoder in self.encoder:
            x = encoder(x)
            skips.append(x)
        x = skips.pop()
        for decoder in reversed(self.decoder):
            x = decoder(x, skips.pop())
        d, h, w = (slice(before, before + e) for (before, _), e in zip(pads, extents))
        return self.head(x)[:, :, d, h, w]


# ---- losses, of logits z (N, K, D, H, W) and labels g (N, D, H, W) ---------------------------------------------------


def dice(z, g):
    """mean over samples and foreground classes of 1 - (2 sum p g + e) / (sum p^2 + sum g^2 + e), e = 1e-5."""
    p, g = z.softmax(1), F.one_hot(g, z.shape[1]).movedim(-1, 1).to(z.dtype)
    both, squares = (p * g).sum((2, 3, 4)), (p * p).sum((2, 3, 4)) + (g * g).sum((2, 3, 4))
    return 1 - ((2 * both + 1e-5) / (squares + 1e-5))[:, 1:].mean()


def cross_entropy(z, g):
    """mean over the voxels of a sample, then over samples."""
    return F.cross_entropy(z, g, reduction="none").flatten(1).mean(1).mean()


def weighted_cross_entropy(z, g):
    """sum w l / sum w per sample, then mean over samples; w = N / N_class of the sample's voxels."""
    counts = F.one_hot(g, z.shape[1]).sum((1, 2, 3)).to(z.dtype)
    w = (g[0].numel() / counts).gather(1, g.flatten(1))
    return ((w * F.cross_entropy(z, g, reduction="none").flatten(1)).sum(1) / w.sum(1)).mean()


LOSSES = {
    "dice": dice,
    "cross_entropy": cross_entropy,
    "weighted_cross_entropy": weighted_cross_entropy,
    "dice_cross_entropy": lambda z, g: dice(z, g) + cross_entropy(z, g),
}


# ---- a second float32: every sum one term after the other, product and sum rounded apart ----------------------------


class SequentialMatmul(torch.autograd.Function):
    """a @ b and its gradients with the longest possible chains: the least accurate order a kernel can choose."""

    @staticmethod
    def product(a, b):
        total = torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype)
        for k in range(a.shape[1]):
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return SequentialMatmul.product(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return SequentialMatmul.product(grad, b.t()), SequentialMatmul.product(a.t(), grad)


def per_channel(vector, y):
    """A per-channel vector against y (C, N, D, H, W), so that its gradient is a sequential sum too."""
    ones = torch.ones(1, y[0].numel(), dtype=y.dtype)
    return SequentialMatmul.apply(vector[:, None], ones).reshape(y.shape)


def sequential_conv3d(x, weight, bias, stride, pads, *_):
    x = F.pad(x, [pads[0]] * 6)
    for axis in (2, 3, 4):
        x = x.unfold(axis, weight.shape[2], stride[0])
    n, c, *extents = x.shape[:5]
    columns = x.permute(1, 5, 6, 7, 0, 2, 3, 4).reshape(c * weight[0, 0].numel(), -1)
    y = SequentialMatmul.apply(weight.flatten(1), columns).reshape(-1, n, *extents)
    return (y + per_channel(bias, y)).transpose(0, 1)


def sequential_conv_transpose3d(x, weight, bias, *_):
    n, c, d, h, w = x.shape
    y = SequentialMatmul.apply(weight.flatten(1).t(), x.transpose(0, 1).reshape(c, -1))
    y = y.reshape(-1, 2, 2, 2, n, d, h, w).permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(-1, n, 2 * d, 2 * h, 2 * w)
    return (y + per_channel(bias, y)).transpose(0, 1)


def sequential_prelu(x, slope):
    slopes = per_channel(slope, x.transpose(0, 1)).transpose(0, 1)
    return torch.where(x > 0, x, slopes * x)


def sequential():
    """While this is active, every layer of the network sums sequentially."""
    return mock.patch.multiple(
        F, conv3d=sequential_conv3d, conv_transpose3d=sequential_conv_transpose3d, prelu=sequential_prelu
    )


# ---- cases ----------------------------------------------------------------------------------------------------------

CASES = {
    "three_levels": dict(
        network=dict(in_channels=1, classes=2, base=2, encoder=[1, 2, 2], decoder=[1, 2]),
        batch=2, extents=(9, 13, 6), salt=8, grads=["dice", "weighted_cross_entropy"],
    ),
    "four_levels": dict(
        network=dict(in_channels=2, classes=3, base=2, encoder=[1, 2, 3, 3], decoder=[1, 2, 3]),
        batch=1, extents=(7, 14, 19), salt=2888, grads=["dice"],
    ),
    "odd_channels": dict(
        network=dict(in_channels=2, classes=4, base=3, encoder=[2, 2], decoder=[2]),
        batch=2, extents=(7, 10, 12), salt=14, grads=["dice", "weighted_cross_entropy"],
    ),
}  # fmt: skip

# decay falls on weights of convolutions only; max_norm: torch.nn.utils.clip_grad_norm_ before the step
TRAJECTORIES = {
    "sgd": dict(optimizer="SGD", loss="dice", lr=5e-3, momentum=0.99, nesterov=False, weight_decay=5e-4),
    "nesterov": dict(
        optimizer="SGD", loss="dice_cross_entropy", lr=5e-3, momentum=0.99, nesterov=True, weight_decay=5e-4,
        max_norm=0.2,
    ),
    "adam": dict(optimizer="Adam", loss="dice", lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=5e-4),
    "adamw": dict(
        optimizer="AdamW", loss="weighted_cross_entropy", lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=1e-2
    ),
}  # fmt: skip


def scale_and_offset(name, shape):
    """Of the uniform distribution: He's sqrt(6 / fan_in), smaller at the head so that softmax does not saturate."""
    if "act" in name:
        return 0.25, 0.25
    if name.endswith("bias"):
        return 0.125, 0.0
    fan_in = shape[0] if ".up." in name else math.prod(shape[1:])
    gain = 1.5 if name.startswith("head") else 6
    return float(np.float32(math.sqrt(gain / fan_in))), 0.0


def hash_parameters(network, salt):
    shapes = {name: tuple(p.shape) for name, p in VNet(**network).state_dict().items()}
    return {name: hash_tensor(name, s, salt, *scale_and_offset(name, s)) for name, s in shapes.items()}


def build(network, parameters, dtype):
    """The network in `dtype`; .seen: each convolution's last output and each PReLU's last input, with .grad."""
    model = VNet(**network).to(dtype)
    model.load_state_dict({name: torch.as_tensor(p).to(dtype) for name, p in parameters.items()}, strict=True)
    model.seen = {}

    def see(name, tensor):
        tensor.retain_grad()
        model.seen[name] = tensor

    for name, module in model.named_modules():
        if isinstance(module, nn.PReLU):
            module.register_forward_pre_hook(lambda _, x, name=name: see(name, x[0]))
        elif isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(lambda _, x, y, name=name: see(name, y))
    return model


class Unsteady(Exception):
    """Rounding would decide what this case computes: take another salt."""


def roots(terms):
    """u times the sum over layers of sqrt(K)."""
    return U * sum(map(math.sqrt, terms.values()))


def reduction_lengths(network):
    """K per convolution: terms of a forward sum, of an input-gradient sum, and the equivalent of F(4,5)^3."""
    forward, backward, winograd = {}, {}, {}
    for name, layer in VNet(**network).named_modules():
        if isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
            # windows of stride 2 do not overlap: one tap per output going up, one per input going down backwards
            taps = math.prod(layer.kernel_size)
            forward[name] = layer.in_channels * (1 if name.endswith("up") else taps)
            backward[name] = layer.out_channels * (1 if name.endswith("down") else taps)
            tile = WINOGRAD_AMPLIFICATION**2 * (layer.in_channels + WINOGRAD_ADDITIONS)
            winograd[name] = tile if taps == 125 else forward[name]
    return forward, backward, winograd


class Case:
    """A network with hash parameters, one batch, and the bounds that docs/numerics.md derives."""

    def __init__(self, network, batch, extents, salt):
        self.network, self.salt, self.voxels = network, salt, math.prod(extents)
        self.parameters = hash_parameters(network, salt)
        self.image = hash_tensor("image", (batch, network["in_channels"], *extents), salt)
        self.labels = hash_labels(batch, extents, network["classes"], salt)
        pads = padding(extents, len(network["encoder"]))
        self.padded = [e + sum(p) for e, p in zip(extents, pads)]
        self.terms, self.backward_terms, self.winograd_terms = reduction_lengths(network)

    def logits_bound(self):
        """Largest error of a logit, relative to the largest logit."""
        return roots(self.terms)

    @staticmethod
    def softmax_error(z):
        """Relative error of exp, (3 + 2|x|) ULP in WGSL, x the distance to the voxel's largest logit."""
        return 2 * U * (3 + 2 * (z.amax(1) - z.amin(1)).max().item())

    def gradient_bound(self, z):
        """Largest error of a parameter's gradient, relative to the largest element of that tensor."""
        longest_sum = math.prod(self.padded) * len(self.image)
        backward = roots(self.backward_terms) + U * math.sqrt(longest_sum)
        return self.logits_bound() + backward + 2 * self.softmax_error(z)

    def loss_bound(self, model, z, name, loss):
        """Every layer's rounding errors, carried to the loss by dL/dy; then softmax, logarithm, the loss's own sums."""
        reach = {n: (model.seen[n].abs().max() * model.seen[n].grad.norm()).item() for n in self.terms}
        layers = sum(U * math.sqrt(k) * reach[n] for n, k in self.terms.items())
        softmax = self.softmax_error(z) * z.grad.abs().sum().item()
        logarithm = 2.0**-21 if "cross_entropy" in name else 0.0
        return layers + softmax + logarithm + U * math.sqrt(self.voxels) * max(1.0, loss)

    def backward(self, model, loss, dtype):
        """One forward and backward: logits (with .grad) and the loss."""
        model.zero_grad()
        z = model(torch.from_numpy(self.image).to(dtype))
        z.retain_grad()
        value = LOSSES[loss](z, torch.from_numpy(self.labels))
        value.backward()
        return z, value.item()

    def evaluate(self, loss, dtype):
        """The model after one backward pass, logits (with .grad), the loss."""
        model = build(self.network, self.parameters, dtype)
        return model, *self.backward(model, loss, dtype)

    def require_steady(self):
        """Every class in every sample, and no PReLU input within the bound of zero: rounding cannot flip its slope."""
        if any(len(np.unique(sample)) < self.network["classes"] for sample in self.labels):
            raise Unsteady("a sample lacks a class")
        seen = self.evaluate("dice", torch.float64)[0].seen
        nearest = min((x.abs().min() / x.abs().max()).item() for name, x in seen.items() if "act" in name)
        if nearest < self.logits_bound():
            raise Unsteady(f"a PReLU input of {nearest:.1e} of its layer's largest")

    def train(self, recipe, dtype, parameters=None):
        """STEPS steps: losses (before each and after the last), global gradient norms (before clipping), norms at the
        end; and, equally shaped, what the rounding of each single step can change."""
        model = build(self.network, parameters or self.parameters, dtype)
        named = dict(model.named_parameters())
        start = {n: p.detach().double().clone() for n, p in named.items()}
        plain = [n for n in named if n.endswith("bias") or "act" in n]
        groups = [
            dict(params=[p for n, p in named.items() if n not in plain], weight_decay=recipe["weight_decay"]),
            dict(params=[named[n] for n in plain], weight_decay=0.0),
        ]
        options = {k: recipe[k] for k in ("lr", "momentum", "nesterov", "betas", "eps") if k in recipe}
        optimizer = getattr(torch.optim, recipe["optimizer"])(groups, **options)
        values, floors = (dict(losses=[], gradient_norms=[]) for _ in range(2))
        for step in range(STEPS + 1):
            z, loss = self.backward(model, recipe["loss"], dtype)
            norm = nn.utils.clip_grad_norm_(named.values(), recipe.get("max_norm", math.inf)).item()
            values["losses"].append(loss)
            values["gradient_norms"].append(norm)
            floors["losses"].append(self.loss_bound(model, z, recipe["loss"], loss))
            floors["gradient_norms"].append(self.gradient_bound(z) * norm)
            if step < STEPS:
                optimizer.step()
        end = {n: p.detach().double() for n, p in named.items()}
        values["parameter_norms"] = {n: p.norm().item() for n, p in end.items()}
        values["update_norms"] = {n: (p - start[n]).norm().item() for n, p in end.items()}
        floors["parameter_norms"] = {n: STEPS * U * norm for n, norm in values["parameter_norms"].items()}
        floors["update_norms"] = floors["parameter_norms"]
        return values, floors

    def trajectory_bounds(self, recipe):
        """The single steps' rounding + SAFETY times the worst of the runs from parameters moved by backward errors."""
        values, floors = self.train(recipe, torch.float64)
        runs = []
        for run in range(MOVED_RUNS):
            moved = {n: p * (1 + self.backward_error(n, p.shape, run)) for n, p in self.parameters.items()}
            runs.append(tree(lambda a, b: abs(a - b), values, self.train(recipe, torch.float64, moved)[0]))
        worst, median = tree(lambda *e: max(e), *runs), tree(lambda *e: sorted(e)[MOVED_RUNS // 2], *runs)
        if any(w > max(f, OUTLIER * m) for w, f, m in zip(leaves(worst), leaves(floors), leaves(median))):
            raise Unsteady("a PReLU input changes sign in some of the runs from moved parameters")
        return tree(lambda floor, w: floor + SAFETY * w, floors, worst)

    def backward_error(self, name, shape, run):
        """Relative, uniform up to u sqrt(K / 6): rounding a dot product is like moving its weights by that."""
        size = U * math.sqrt(self.terms.get(name.rsplit(".", 1)[0], 6) / 6)
        return hash_tensor(f"moved.{run}.{name}", shape, self.salt).astype(np.float64) * size


# ---- what is compared, and how closely ------------------------------------------------------------------------------


def tree(f, first, *rest):
    """f over the leaves of equally shaped dicts and lists."""
    if isinstance(first, dict):
        return {k: tree(f, first[k], *(r[k] for r in rest)) for k in first}
    if isinstance(first, list):
        return [tree(f, *leaves) for leaves in zip(first, *rest)]
    return f(first, *rest)


def leaves(node):
    """The leaves of such a tree, as a flat list."""
    if not isinstance(node, (dict, list)):
        return [node]
    return [x for child in (node.values() if isinstance(node, dict) else node) for x in leaves(child)]


def compute(case, grads, dtype):
    """Tensors "logits" and "grad.<loss>.<parameter>", and the tree of numbers: losses, trajectories."""
    tensors, numbers = {}, dict(losses={})
    for loss in LOSSES:
        model, tensors["logits"], numbers["losses"][loss] = case.evaluate(loss, dtype)
        if loss in grads:
            tensors |= {f"grad.{loss}.{n}": p.grad for n, p in model.named_parameters()}
    numbers["trajectories"] = {name: case.train(recipe, dtype)[0] for name, recipe in TRAJECTORIES.items()}
    return {name: t.detach() for name, t in tensors.items()}, numbers


def derive_bounds(case, grads):
    """For logits and grad relative to the largest element of the tensor; absolute for the numbers."""
    bounds = dict(logits=case.logits_bound(), grad={}, losses={})
    for loss in LOSSES:
        model, z, value = case.evaluate(loss, torch.float64)
        bounds["losses"][loss] = case.loss_bound(model, z, loss, value)
        if loss in grads:
            bounds["grad"][loss] = case.gradient_bound(z)
    return bounds | dict(trajectories={name: case.trajectory_bounds(r) for name, r in TRAJECTORIES.items()})


def measure(truth, found, grads):
    """The errors of a float32 run, shaped as the bounds are."""
    (exact, numbers), (rounded, rounded_numbers) = truth, found
    error = {n: ((rounded[n] - t).abs().max() / t.abs().max()).item() for n, t in exact.items()}
    worst = {loss: max(e for n, e in error.items() if n.startswith(f"grad.{loss}.")) for loss in grads}
    return dict(logits=error["logits"], grad=worst) | tree(lambda a, b: abs(a - b), numbers, rounded_numbers)


def table(name, bounds, yardsticks):
    """Rows of docs/numerics.md: case, quantity, largest error per arithmetic, largest bound, largest share."""
    under = lambda t, path: leaves(functools.reduce(lambda node, key: node[key], path, t))
    share = lambda path: max(e / b for y in yardsticks.values() for e, b in zip(under(y, path), under(bounds, path)))
    for path in [("logits",), ("grad",), ("losses",), *(("trajectories", t, "losses") for t in TRAJECTORIES)]:
        numbers = " | ".join(f"{max(under(t, path)):.1e}" for t in (*yardsticks.values(), bounds))
        yield f"| {name} | {' '.join(path[-2:])} | {numbers} | {share(path):.2f} |"
    yield f"| {name} | all of the trajectories | | | | {share(('trajectories',)):.2f} |"


def write_case(name, case, folder, grads):
    """Write <name>.json, <name>.safetensors and <name>.grad.<loss>.safetensors; returns rows of a Markdown table."""
    truth = tensors, numbers = compute(case, grads, torch.float64)
    case.require_steady()
    bounds = derive_bounds(case, grads)
    single = compute(case, grads, torch.float32)
    with sequential():
        chained = compute(case, grads, torch.float32)
    yardsticks = dict(pytorch=measure(truth, single, grads), sequential=measure(truth, chained, grads))
    for arithmetic, errors in yardsticks.items():
        if max(leaves(tree(lambda e, b: e / b, errors, bounds))) > 0.5:
            raise SystemExit(f"{name}: {arithmetic} float32 uses more than half of a bound: see the derivation")

    labels = case.labels.astype(np.uint8)
    files = {f"{name}.safetensors": dict(image=case.image, labels=labels, logits=tensors["logits"].float().numpy())}
    for loss in grads:
        prefix = f"grad.{loss}."
        files[f"{name}.{prefix}safetensors"] = {
            k: t.float().numpy() for k, t in tensors.items() if k.startswith(prefix)
        }
    for file, content in files.items():
        save_file({k: np.ascontiguousarray(a) for k, a in content.items()}, folder / file)
        (folder / file).chmod(0o644)

    checksum = lambda array: fnv1a32(array.tobytes())
    parameters = {}
    for n, p in case.parameters.items():
        scale, offset = scale_and_offset(n, p.shape)
        parameters[n] = dict(shape=p.shape, scale=scale, offset=offset, checksum=checksum(p))
    losses = {k: dict(f64=v, f32=single[1]["losses"][k]) for k, v in numbers["losses"].items()}
    sidecar = dict(
        format=1, command="tools/golden.py make", torch=torch.__version__, network=case.network, salt=case.salt,
        batch=len(labels), extents=labels.shape[1:], padded=case.padded, files=list(files),
        image=dict(scale=1.0, offset=0.0, checksum=checksum(case.image)), labels=dict(checksum=checksum(labels)),
        parameters=parameters, losses=losses,
        trajectories={k: recipe | numbers["trajectories"][k] for k, recipe in TRAJECTORIES.items()},
        bounds=bounds | dict(logits_winograd=roots(case.winograd_terms)), yardsticks=yardsticks,
    )  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(sidecar, indent=1) + "\n")
    return table(name, bounds, yardsticks)


# ---- commands -------------------------------------------------------------------------------------------------------


def make(arguments):
    """Write the cases and print the table of docs/numerics.md."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("| case | quantity | PyTorch f32 | sequential f32 | bound | share |\n|---|---|---|---|---|---|")
    for name in arguments.case or CASES:
        settings = dict(CASES[name])
        grads = settings.pop("grads")
        for row in write_case(name, Case(**settings), arguments.out, grads):
            print(row, flush=True)


def salt(arguments):
    """Print the first salt from --first on whose case is steady: it belongs into CASES."""
    settings = CASES[arguments.case]
    for number in itertools.count(arguments.first):
        case = Case(settings["network"], settings["batch"], settings["extents"], number)
        try:
            case.require_steady()
            for recipe in reversed(TRAJECTORIES.values()):
                case.trajectory_bounds(recipe)
        except Unsteady as reason:
            print(f"{number}: {reason}", file=sys.stderr)
            continue
        return print(number)


def check(arguments):
    """Load a checkpoint of the engine strictly, and forward a hash image in float64."""
    with safe_open(arguments.model, framework="pt") as file:
        metadata = json.loads((file.metadata() or {}).get("vnet_engine", "null"))
        parameters = {name: file.get_tensor(name) for name in file.keys()}
    if not metadata or metadata.get("format") != 1:
        raise SystemExit(f"{arguments.model}: no metadata key vnet_engine with format 1")
    network = {key: value for key, value in metadata["network"].items() if key != "activation"}
    model = build(network, parameters, torch.float64)
    for name, p in model.state_dict().items():
        print(f"{name:32} {list(p.shape)}")
    image = torch.from_numpy(hash_tensor("image", (1, network["in_channels"], *arguments.extents), arguments.salt))
    logits = model(image.double()).detach()
    print(f"{sum(p.numel() for p in model.parameters())} parameters, network {json.dumps(network)}")
    print(f"logits {list(logits.shape)}: mean {logits.mean():.9g}, largest {logits.abs().max():.9g}")
    print(f"bound on another float32's error, relative to the largest: {roots(reduction_lengths(network)[0]):.2e}")
    if arguments.output:
        save_file(dict(image=image.numpy(), logits=np.ascontiguousarray(logits.float().numpy())), arguments.output)


def write(arguments):
    """Write a checkpoint with hash parameters, which the engine must load."""
    network = {k: getattr(arguments, k) for k in ("in_channels", "classes", "base", "encoder", "decoder")}
    metadata = {"vnet_engine": json.dumps(dict(format=1, network=network))}
    save_file(hash_parameters(network, arguments.salt), arguments.out, metadata=metadata)


def main():
    integers = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description="PyTorch golden data for vnet-engine; details at the top of the file.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("make", help="write the golden cases, print measured errors beside their bounds")
    command.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "tests/golden", metavar="DIR")
    command.add_argument("--case", action="append", choices=CASES, help="only this one (may be repeated)")
    command.set_defaults(run=make)

    command = commands.add_parser("salt", help="find a salt for a case: one with which no rounding decides anything")
    command.add_argument("case", choices=CASES)
    command.add_argument("--first", type=int, default=1, metavar="N", help="where to begin (default 1)")
    command.set_defaults(run=salt)

    command = commands.add_parser("check", help="load a checkpoint of the engine strictly and forward a hash image")
    command.add_argument("model", type=Path, metavar="MODEL.safetensors")
    command.add_argument("--extents", type=integers, default=[13, 18, 11], metavar="D,H,W", help="default 13,18,11")
    command.add_argument("--salt", type=int, default=0, help="of the image (default 0)")
    command.add_argument("--output", type=Path, metavar="F.safetensors", help="write tensors image and logits")
    command.set_defaults(run=check)

    command = commands.add_parser("write", help="write a checkpoint made by PyTorch that the engine must load")
    command.add_argument("out", type=Path, metavar="OUT.safetensors")
    for name, default in dict(in_channels=1, classes=2, base=16).items():
        command.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    command.add_argument("--encoder", type=integers, default=[1, 2, 3, 3, 3], metavar="N,...", help="default 1,2,3,3,3")
    command.add_argument("--decoder", type=integers, default=[1, 2, 3, 3], metavar="N,...", help="default 1,2,3,3")
    command.add_argument("--salt", type=int, default=1, help="of the parameters (default 1)")
    command.set_defaults(run=write)

    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        arguments.run(arguments)
    except (OSError, RuntimeError, ValueError, Unsteady) as error:
        sys.exit(f"golden.py: {error}")


if __name__ == "__main__":
    main()
