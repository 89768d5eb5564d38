#!/usr/bin/env python3
"""Golden data of other programs' networks: MONAI's VNet with batch normalisation and ELU, and nnU-Net's residual encoder.

    golden_networks.py                   write tests/golden/monai_vnet.* and residual_unet.* (a few minutes on one core)

Needs PyTorch 2.15, MONAI 1.6.1, dynamic-network-architectures 0.4.4, numpy and safetensors; nothing here uses a GPU.

The modules are those of the two packages; MONAI's, whose VNet has 16 channels and five levels throughout, are put together as
its VNet puts them together, with fewer. Parameters, images and labels are the hash of tools/golden.py, under the engine's names.
Truth is computed in float64 from float32 parameters: logits in training and in evaluation, loss, every gradient, and ten steps.

Bounds. As in tools/golden.py, rounding a dot product of K terms is like moving its weights by a relative error, uniform up to
u sqrt(K / 6), where u is 2^-24; the moments of a normalisation are sums of n voxels in two stages, 2 sqrt(n) terms one after the other, and move its
weight and bias in the same way. A bound is SAFETY times the worst change over MOVED_RUNS runs in float64 from parameters that are moved so; a case
in which one run changes OUTLIER times more than the median has a decision that rounding takes (an activation at its kink), and
another salt is tried. PyTorch's own float32 must stay below half of every bound. The gradient of a bias before a normalisation is
a sum that cancels: its bound is relative to the sum of the magnitudes, which is its "scale" in the sidecar.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from golden import MOVED_RUNS, OUTLIER, SAFETY, U, dice, fnv1a32, hash_labels, hash_tensor
from monai.networks.nets import vnet
from safetensors.numpy import save_file
from torch import nn

OUT = Path(__file__).parents[1] / "tests/golden"
STEPS = 10


class MonaiVNet(nn.Module):
    """MONAI's VNet with other channels and levels: its modules, connected as in its forward."""

    def __init__(self, in_channels, classes, base, encoder, decoder, bias=True):
        super().__init__()
        act = ("elu", {"inplace": False})
        self.levels = len(encoder)
        self.in_tr = vnet.InputTransition(3, in_channels, base, act, bias=bias)
        for level in range(1, self.levels):
            down = vnet.DownTransition(3, base << (level - 1), encoder[level], act, bias=bias)
            setattr(self, f"down_tr{16 << level}", down)
        for level in range(self.levels - 1):
            # The deepest takes the last encoder's channels, the others those of the decoder below.
            inputs = base << (level + 1) if level == self.levels - 2 else base << (level + 2)
            up = vnet.UpTransition(3, inputs, base << (level + 1), decoder[level], act)
            # Random numbers differ from program to program.
            up.dropout2.p = 0.0
            setattr(self, f"up_tr{32 << level}", up)
        self.out_tr = vnet.OutputTransition(3, 2 * base, classes, act, bias=bias)

    def forward(self, x):
        skips = [self.in_tr(x)]
        for level in range(1, self.levels):
            skips.append(getattr(self, f"down_tr{16 << level}")(skips[-1]))
        x = skips.pop()
        for level in reversed(range(self.levels - 1)):
            x = getattr(self, f"up_tr{32 << level}")(x, skips.pop())
        return self.out_tr(x)


def is_monais():
    """The modules and their names are those of MONAI's VNet."""
    ours = MonaiVNet(1, 2, 16, [1, 1, 2, 3, 2], [1, 1, 2, 2], bias=False).state_dict()
    theirs = vnet.VNet(out_channels=2).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


def residual_unet(in_channels, classes, features, most_features, blocks, kernels, strides):
    return ResidualEncoderUNet(
        input_channels=in_channels, n_stages=len(blocks), conv_op=nn.Conv3d,
        features_per_stage=[min(features << level, most_features) for level in range(len(blocks))],
        kernel_sizes=kernels, strides=strides, n_blocks_per_stage=blocks, num_classes=classes,
        n_conv_per_stage_decoder=[1] * (len(blocks) - 1), conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs=dict(eps=1e-5, affine=True), nonlin=nn.LeakyReLU, nonlin_kwargs=dict(inplace=False),
        deep_supervision=False,
    )  # fmt: skip


def monai_name(name):
    """The engine's name of a tensor of MONAI's VNet."""
    module, rest = name.split(".", 1)
    side, level = module.split("_tr")
    rest = rest.replace("conv_block.conv", "conv").replace("conv_block.adn.N", "norm")
    if side == "out":
        return rest.replace("conv2", "head") if rest.startswith("conv2") else f"output.{rest}"
    if side == "in":
        return f"encoder.0.{rest.replace('.', '.0.', 1)}"
    side, level = dict(down=("encoder", -4), up=("decoder", -5))[side], int(level).bit_length() - 1
    kind = "down" if side[0] == "encoder" else "up"
    if rest.startswith("ops."):
        _, j, part, rest = rest.split(".", 3)
        rest = f"{part}.{j}.{rest}"
    else:
        rest = rest.replace(f"{kind}_conv", kind).replace("bn1", f"{kind}_norm")
    return f"{side[0]}.{level + side[1]}.{rest}"


def unet_name(blocks):
    """The engine's name of a tensor of `dynamic-network-architectures`; None for what is there twice or unused."""

    def rename(name):
        unused = name.startswith("decoder.seg_layers.") and not name.startswith(f"decoder.seg_layers.{len(blocks) - 2}.")
        if "all_modules" in name or name.startswith("decoder.encoder.") or unused:
            return None
        return name.replace(f"decoder.seg_layers.{len(blocks) - 2}.", "head.")

    return rename


CASES = {
    "monai_vnet": dict(
        network=dict(in_channels=2, classes=3, base=2, encoder=[1, 1, 2], decoder=[1, 1]),
        options=dict(normalisation="batch", nonlinearity="elu", style="monai"),
        build=MonaiVNet, rename=lambda network: monai_name, batch=2, extents=(8, 12, 16),
        recipe=dict(optimizer="SGD", loss="dice_cross_entropy", lr=1e-2, momentum=0.9, nesterov=False, weight_decay=5e-4),
    ),
    "residual_unet": dict(
        network=dict(
            in_channels=2, classes=3, features=4, most_features=8, blocks=[1, 2, 1],
            kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]], strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        ),
        options=dict(kind="residual_unet"),
        build=residual_unet, rename=lambda network: unet_name(network["blocks"]), batch=2, extents=(6, 12, 20),
        recipe=dict(optimizer="SGD", loss="dice_cross_entropy", lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5),
    ),
}  # fmt: skip


def loss_of(z, g):
    return dice(z, g) + nn.functional.cross_entropy(z, g, reduction="none").flatten(1).mean(1).mean()


def scale_and_offset(name, shape):
    """Of the uniform distribution: He's sqrt(6 / fan_in), less at the head; normalisations near the identity."""
    norm = "norm" in name
    if name.endswith("running_var") or (norm and name.endswith("weight")):
        return 0.25, 1.0
    if len(shape) == 1:
        return 0.125, 0.0
    transposed = ".up." in name or "transpconvs" in name
    fan_in = shape[0] if transposed else math.prod(shape[1:])
    return float(np.float32(math.sqrt((1.5 if name.startswith("head") else 6) / fan_in))), 0.0


class Unsteady(Exception):
    """Rounding would decide what this case computes: take another salt."""


class Case:
    def __init__(self, network, options, build, rename, batch, extents, recipe, salt):
        self.network, self.options, self.build, self.recipe, self.salt = network, options, build, recipe, salt
        self.voxels = math.prod(extents)
        self.image = hash_tensor("image", (batch, network["in_channels"], *extents), salt)
        self.labels = hash_labels(batch, extents, network["classes"], salt)
        if any(len(np.unique(sample)) < network["classes"] for sample in self.labels):
            raise Unsteady("a sample lacks a class")
        model, rename = build(**network), rename(network)
        self.names = {n: rename(n) for n in model.state_dict() if not n.endswith("num_batches_tracked")}
        shapes = {self.names[n]: tuple(t.shape) for n, t in model.state_dict().items() if self.names.get(n)}
        self.parameters = {n: hash_tensor(n, s, salt, *scale_and_offset(n, s)) for n, s in shapes.items()}

    def is_normalised(self, name):
        """Whether it is a bias that a normalisation takes away again."""
        module = name.removesuffix(".bias")
        norm = re.sub(r"\.conv(?=$|\.\d+$)", ".norm", re.sub(r"\.(down|up)$", r".\1_norm", module))
        return name.endswith(".bias") and norm != module and f"{norm}.weight" in self.names.values()

    def kept(self, name):
        """Whether the engine has the tensor: not where each channel of a sample is normalised and a bias has no effect."""
        return not (self.options.get("kind") == "residual_unet" and self.is_normalised(name))

    def model(self, dtype, parameters=None):
        model, values = self.build(**self.network).to(dtype), parameters or self.parameters
        state = {
            n: torch.as_tensor(values[self.names[n]] if self.names[n] else values[self.twin(n)]).to(dtype)
            for n in self.names
            if self.names[n] or self.twin(n) in self.parameters
        }
        model.load_state_dict(state, strict=False)
        return model

    def twin(self, name):
        """The engine's name of a tensor that the package has under two names."""
        name = name.removeprefix("decoder.").replace("all_modules.0", "conv").replace("all_modules.1", "norm")
        return name if name in self.parameters else f"decoder.{name}"

    def evaluate(self, dtype, parameters=None):
        """Logits in training and evaluation, the loss and the gradients by the engine's names; scales of those that cancel."""
        model = self.model(dtype, parameters)
        image, labels = torch.from_numpy(self.image).to(dtype), torch.from_numpy(self.labels)
        model.eval()
        evaluated = model(image).detach()
        model.train()
        outputs = {}
        for name, module in model.named_modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                module.register_forward_hook(lambda _, x, y, name=name: (y.retain_grad(), outputs.update({name: y}))[0])
        logits = model(image)
        loss = loss_of(logits, labels)
        loss.backward()
        named = {self.names[n]: p for n, p in model.named_parameters(remove_duplicate=False) if self.names[n]}
        grads = {f"grad.{n}": p.grad for n, p in named.items()}
        scales = {
            self.names[f"{n}.bias"]: y.grad.abs().sum((0, 2, 3, 4)).max().item()
            for n, y in outputs.items()
            if self.names.get(f"{n}.bias") and self.is_normalised(self.names[f"{n}.bias"])
        }
        return dict(logits=logits.detach(), evaluated=evaluated) | grads, loss.item(), scales

    def train(self, dtype, parameters=None):
        """Losses before each of STEPS steps and after them, and norms of all tensors and of their changes."""
        model = self.model(dtype, parameters).train()
        named = {self.names[n]: p for n, p in model.named_parameters(remove_duplicate=False) if self.names[n]}
        recipe = self.recipe
        groups = [
            dict(params=[p for p in named.values() if p.dim() > 1], weight_decay=recipe["weight_decay"]),
            dict(params=[p for p in named.values() if p.dim() == 1], weight_decay=0.0),
        ]
        optimizer = torch.optim.SGD(groups, **{k: recipe[k] for k in ("lr", "momentum", "nesterov")})
        image, labels = torch.from_numpy(self.image).to(dtype), torch.from_numpy(self.labels)
        state = lambda: {self.names[n]: t.double().clone() for n, t in model.state_dict().items() if self.names.get(n)}
        start, losses = state(), []
        for step in range(STEPS + 1):
            # The statistics of the pass after the last step are not theirs.
            end = state()
            optimizer.zero_grad()
            loss = loss_of(model(image), labels)
            loss.backward()
            losses.append(loss.item())
            if step < STEPS:
                optimizer.step()
        norms = {n: t.norm().item() for n, t in end.items() if self.kept(n)}
        updates = {n: (t - start[n]).norm().item() for n, t in end.items() if self.kept(n)}
        return dict(losses=losses, parameter_norms=norms, update_norms=updates)

    def terms(self, name, shape):
        """Terms of the sums that a tensor takes part in."""
        if len(shape) > 1:
            return shape[0] if ".up." in name or "transpconvs" in name else math.prod(shape[1:])
        return 2 * math.sqrt(len(self.image) * self.voxels) if "norm" in name else 6

    def moved(self, run):
        size = lambda n, p: U * math.sqrt(self.terms(n, p.shape) / 6)
        draw = lambda n, p: hash_tensor(f"moved.{run}.{n}", p.shape, self.salt).astype(np.float64)
        return {n: p * (1 + size(n, p) * draw(n, p)) for n, p in self.parameters.items()}

    def errors(self, truth, found):
        """Of tensors relative to the largest element or their scale, of numbers absolute."""
        (exact, loss, scales), steps = truth
        (tensors, other, _), other_steps = found
        result = dict(loss=abs(loss - other), grad=0.0)
        for name, tensor in exact.items():
            if not self.kept(name.removeprefix("grad.")):
                continue
            scale = max(tensor.abs().max().item(), scales.get(name.removeprefix("grad."), 0.0))
            error = (tensors[name].double() - tensor).abs().max().item() / scale
            key = "grad" if name.startswith("grad.") else name
            result[key] = max(result.get(key, 0.0), error)
        flat = lambda s: [*s["losses"], *s["parameter_norms"].values(), *s["update_norms"].values()]
        result["steps"] = [abs(a - b) for a, b in zip(flat(steps), flat(other_steps))]
        return result

    def bounds(self, truth):
        runs = [self.errors(truth, (self.evaluate(torch.float64, p), self.train(torch.float64, p))) for p in map(self.moved, range(MOVED_RUNS))]
        bounds = {}
        for key in ("loss", "grad", "logits", "evaluated"):
            values = sorted(run[key] for run in runs)
            if values[-1] > OUTLIER * values[len(values) // 2]:
                raise Unsteady(f"{key} of some of the moved runs")
            bounds[key] = SAFETY * values[-1]
        # The logarithm and the exponential of WGSL, and the sums of the loss.
        bounds["loss"] += 2.0**-21 + U * math.sqrt(self.voxels)
        steps = [sorted(errors) for errors in zip(*(run["steps"] for run in runs))]
        # Ten updates round, too.
        flat = [*truth[1]["losses"], *truth[1]["parameter_norms"].values(), *truth[1]["update_norms"].values()]
        bounds["steps"] = [SAFETY * e[-1] + bounds["loss"] + STEPS * U * abs(v) for e, v in zip(steps, flat)]
        return bounds


def write(name, settings):
    for salt in range(1, 100):
        try:
            case = Case(**settings, salt=salt)
            truth = case.evaluate(torch.float64), case.train(torch.float64)
            bounds = case.bounds(truth)
        except Unsteady as reason:
            print(f"{name}: salt {salt}: {reason}", flush=True)
            continue
        break
    single = case.errors(truth, (case.evaluate(torch.float32), case.train(torch.float32)))
    for key in ("loss", "grad", "logits", "evaluated"):
        print(f"| {name} | {key} | {single[key]:.1e} | {bounds[key]:.1e} | {single[key] / bounds[key]:.2f} |")
    shares = [e / b for e, b in zip(single["steps"], bounds["steps"])]
    print(f"| {name} | ten steps | | | {max(shares):.2f} |", flush=True)
    if max(*shares, *(single[k] / bounds[k] for k in ("loss", "grad", "logits", "evaluated"))) > 0.5:
        raise SystemExit(f"{name}: float32 uses more than half of a bound")
    tensors, loss, scales = truth[0]
    float32 = lambda t: np.ascontiguousarray(t.float().numpy())
    kept = {n: float32(t) for n, t in tensors.items() if case.kept(n.removeprefix("grad."))}
    files = [f"{name}.safetensors", f"{name}.grad.safetensors"]
    save_file({k: t for k, t in kept.items() if k.startswith("grad.")}, OUT / files[1])
    rest = {k: t for k, t in kept.items() if not k.startswith("grad.")}
    save_file(rest | dict(image=case.image, labels=case.labels.astype(np.uint8)), OUT / files[0])
    checksum = lambda array: fnv1a32(array.tobytes())
    parameters = {
        n: dict(shape=p.shape, scale=scale_and_offset(n, p.shape)[0], offset=scale_and_offset(n, p.shape)[1], checksum=checksum(p))
        for n, p in case.parameters.items()
        if case.kept(n)
    }
    sidecar = dict(
        format=1, command="tools/golden_networks.py", torch=torch.__version__, network=settings["network"] | settings["options"],
        salt=salt, batch=len(case.labels), extents=case.labels.shape[1:], files=files, parameters=parameters,
        names={theirs: own for theirs, own in case.names.items() if own}, loss=loss, scales=scales,
        recipe=settings["recipe"], steps=truth[1], bounds=bounds, pytorch=single,
    )  # fmt: skip
    for file in files:
        (OUT / file).chmod(0o644)
    (OUT / f"{name}.json").write_text(json.dumps(sidecar, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    is_monais()
    for name, settings in CASES.items():
        write(name, settings)
