#!/usr/bin/env python3
"""Golden data for losses and resampling, tests/golden/losses_monai.json: what MONAI, nnU-Net and PyTorch compute.

    golden_monai.py

Needs MONAI 1.6, nnU-Net 2.8 and PyTorch; see golden_losses.py for how to install them. Of nnU-Net only its losses are used.

Each entry of `losses` names a loss of the engine with its keys, the data it is computed on, and value and gradient of the other
program. The engine's value is `factor` times that, plus `constant`:

- MONAI's focal loss of classes is a mean over classes, too, of which all but one are 0; the engine's is over voxels. Weights of classes
  are not normalised there.
- nnU-Net's Dice lacks the 1 from which the coefficient is taken.

Logits and gradients are [N, D, H, W, K], labels [N, D, H, W]: the number of a class, or a mask of regions. Activations of
`resolutions` are [N, D, H, W, C].
"""

import json
from importlib.metadata import version
from pathlib import Path

import torch
from monai.losses import DiceFocalLoss, FocalLoss, TverskyLoss
from nnunetv2.training.loss.compound_losses import DC_and_topk_loss
from nnunetv2.training.loss.robust_ce_loss import TopKLoss
from torch.nn import functional

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "losses_monai.json"
EXTENTS = (3, 4, 5)
WEIGHTS = [0.5, 1.0, 2.0, 4.0]


def channels_last(tensor):
    return [round(x, 9) for x in tensor.permute(0, 2, 3, 4, 1).reshape(-1).tolist()]


def entry(data, loss, keys, compute, factor=1.0, constant=0.0, class_weights=()):
    leaf = data["tensor"].clone().requires_grad_()
    value = compute(leaf, data["target"])
    value.backward()
    return {"data": data["name"], "loss": loss, "keys": keys, "class_weights": list(class_weights), "factor": factor,
            "constant": constant, "value": value.item(), "gradient": channels_last(leaf.grad)}


def drawn(random, name, outputs):
    # Multiples of 1/64, which JSON and f32 hold.
    logits = torch.round(torch.randn(2, outputs, *EXTENTS, generator=random) * 128) / 64
    if name == "classes":
        target = torch.randint(0, outputs, (2, 1, *EXTENTS), generator=random)
        labels = target
    else:
        target = (torch.rand(logits.shape, generator=random) < 0.4).float()
        labels = sum(target[:, k].long() << k for k in range(outputs))
    return {"name": name, "tensor": logits, "target": target, "labels": labels.reshape(-1).tolist()}


def of_classes(data):
    target = data["target"]
    outputs = data["tensor"].shape[1]
    for batch in [False, True]:
        for alpha, beta in [(0.3, 0.7), (1.0, 1.0)]:
            tversky = TverskyLoss(include_background=False, to_onehot_y=True, softmax=True, alpha=alpha, beta=beta, batch=batch)
            keys = {"tversky_alpha": alpha, "tversky_beta": beta, "dice_batch": batch}
            yield entry(data, "tversky", keys, tversky)
    for gamma in [2.0, 1.5]:
        focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma)
        yield entry(data, "focal", {"focal_gamma": gamma}, focal, factor=outputs)
    weights = torch.tensor(WEIGHTS)
    focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0, weight=weights)
    factor = outputs * target.numel() / weights[target].sum().item()
    yield entry(data, "focal", {}, focal, factor=factor, class_weights=WEIGHTS)
    yield entry(data, "cross_entropy", {}, lambda x, y: functional.cross_entropy(x, y[:, 0], weight=weights),
                class_weights=WEIGHTS)
    for percent in [10, 35]:
        yield entry(data, "topk", {"topk_percent": percent}, TopKLoss(k=percent))
    for batch in [False, True]:
        dice = {"batch_dice": batch, "smooth": 1e-5, "do_bg": False, "ddp": False}
        yield entry(data, "dice_topk", {"dice_squares": False, "dice_batch": batch}, DC_and_topk_loss(dice, {"k": 10}),
                    constant=1.0)


def of_regions(data):
    for batch in [False, True]:
        tversky = TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, batch=batch)
        yield entry(data, "tversky", {"dice_batch": batch}, tversky)
    yield entry(data, "focal", {}, FocalLoss(gamma=2.0))
    for squares, batch in [(False, False), (True, True)]:
        both = DiceFocalLoss(sigmoid=True, squared_pred=squares, batch=batch, gamma=2.0)
        yield entry(data, "dice_focal", {"dice_squares": squares, "dice_batch": batch}, both)


def of_resolutions(random):
    for op, factors, extents in [("avg_pool", (1, 2, 3), (2, 4, 6)), ("upsample_nearest", (2, 1, 3), (2, 3, 2)),
                                 ("upsample_linear", (2, 3, 4), (2, 3, 2)), ("upsample_linear", (1, 2, 5), (3, 1, 4))]:
        x = torch.round(torch.randn(1, 2, *extents, generator=random) * 64) / 64
        if op == "avg_pool":
            y = functional.avg_pool3d(x, factors)
        elif op == "upsample_nearest":
            y = functional.interpolate(x, scale_factor=factors, mode="nearest")
        else:
            y = functional.interpolate(x.double(), scale_factor=factors, mode="trilinear", align_corners=False)
        yield {"op": op, "factors": factors, "extents": extents, "input": channels_last(x), "output": channels_last(y)}


def main():
    random = torch.Generator().manual_seed(11)
    classes, regions = drawn(random, "classes", 4), drawn(random, "regions", 3)
    data = [{"name": d["name"], "shape": [2, *EXTENTS, d["tensor"].shape[1]], "logits": channels_last(d["tensor"]),
             "labels": d["labels"]} for d in [classes, regions]]
    made = {"monai": version("monai"), "torch": version("torch"), "data": data,
            "losses": [*of_classes(classes), *of_regions(regions)], "resolutions": list(of_resolutions(random))}
    OUT.write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
