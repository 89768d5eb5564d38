#!/usr/bin/env python3
"""Golden data for losses, tests/golden/losses.json: values and gradients of nnU-Net's compound losses.

    golden_losses.py

Needs nnU-Net 2.8; its losses run on the processor, but the Linux wheel of PyTorch on PyPI does not import without its CUDA
dependencies, so install it whole (5.4 GB):

    python3 -m venv venv && venv/bin/pip install "nnunetv2==2.8.*"

`DC_and_CE_loss` and `DC_and_BCE_loss` are made with the settings of nnU-Net's own trainer (smooth 1e-5, no background for
classes, MemoryEfficientSoftDiceLoss). Each term comes from the whole loss with the other's weight at 0. Logits and gradients are
[N, D, H, W, K], labels [N, D, H, W] as the engine writes them: the number of a class, from K on ignored; or a mask of regions,
2^32 - 1 where ignored. With an ignore label nnU-Net sums the binary cross-entropy over the regions instead of taking the mean;
`terms` says by what its cross-entropy is larger for that.
"""

import json
from importlib.metadata import version
from pathlib import Path

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "losses.json"
EXTENTS = (3, 4, 5)
IGNORED = 2**32 - 1


def channels_last(tensor):
    return tensor.permute(0, 2, 3, 4, 1).reshape(-1).tolist()


def term(loss, logits, target):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    value.backward()
    return {"loss": value.item(), "gradient": channels_last(leaf.grad)}


def terms(make, logits, target):
    of = {name: term(make(*weights), logits, target) for name, weights in [("cross_entropy", (1, 0)), ("dice", (0, 1))]}
    of["both"] = make(1, 1)(logits, target).item()
    return of


def drawn(random, outputs, samples=2):
    # Multiples of 1/64, which JSON and f32 hold.
    logits = torch.round(torch.randn(samples, outputs, *EXTENTS, generator=random) * 128) / 64
    ignored = torch.rand(samples, 1, *EXTENTS, generator=random) < 0.4
    return logits, ignored


def case(name, activation, logits, labels, batch, found, factor=1):
    shape = [logits.shape[0], *EXTENTS, logits.shape[1]]
    return {"name": name, "activation": activation, "shape": shape, "dice_batch": batch, "terms": factor,
            "logits": channels_last(logits), "labels": labels.reshape(-1).tolist(), **found}


def classes(random, name, ignore, batch, outputs=4):
    logits, ignored = drawn(random, outputs)
    labels = torch.randint(0, outputs, ignored.shape, generator=random)
    if ignore:
        labels[ignored] = outputs

    def make(weight_ce, weight_dice):
        dice = {"batch_dice": batch, "smooth": 1e-5, "do_bg": False, "ddp": False}
        return DC_and_CE_loss(dice, {}, weight_ce, weight_dice, ignore_label=outputs if ignore else None,
                              dice_class=MemoryEfficientSoftDiceLoss)

    return case(name, "softmax", logits, labels, batch, terms(make, logits, labels))


def regions(random, name, ignore, batch, outputs=3):
    logits, ignored = drawn(random, outputs)
    members = torch.rand(logits.shape, generator=random) < 0.4
    labels = sum(members[:, k].long() << k for k in range(outputs))
    if ignore:
        labels[ignored[:, 0]] = IGNORED
        target = torch.cat([members & ~ignored, ignored], 1).float()
    else:
        target = members.float()

    def make(weight_ce, weight_dice):
        dice = {"batch_dice": batch, "do_bg": True, "smooth": 1e-5, "ddp": False}
        return DC_and_BCE_loss({}, dice, weight_ce, weight_dice, use_ignore_label=ignore,
                               dice_class=MemoryEfficientSoftDiceLoss)

    factor = outputs if ignore else 1
    return case(name, "sigmoid", logits, labels, batch, terms(make, logits, target), factor)


def main():
    random = torch.Generator().manual_seed(7)
    made = {"nnunetv2": version("nnunetv2"), "torch": version("torch"), "cases": [
        classes(random, "classes", False, False),
        classes(random, "classes_ignored", True, False),
        classes(random, "classes_batch", False, True),
        classes(random, "classes_ignored_batch", True, True),
        regions(random, "regions", False, False),
        regions(random, "regions_ignored", True, False),
        regions(random, "regions_batch", False, True),
        regions(random, "regions_ignored_batch", True, True),
    ]}
    OUT.write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
