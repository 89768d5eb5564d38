#!/usr/bin/env python3
"""What the engine writes, read by the programs that it is written for.

    tools/with-adapter tools/interop.py [--engine FILE] [--venv FOLDER]

Small models with random weights go through `export` and `import`; logits of onnxruntime and PyTorch are compared with those
of `forward`, within 1e-4 of the largest. A short training's event files are read by TensorBoard's own EventAccumulator, and
predictions of an oblique, anisotropic volume by SimpleITK. NRRD files of pynrrd and SimpleITK are read, and what is written for
them is read by both; segmentations are read by slicerio, 3D Slicer's own package. One line per check; exit status 1 if one fails.

Packages come from PyPI into a virtual environment (by default target/interop-venv). Where PyPI is out of reach, their checks
are skipped with a word; a failure of another kind is a failure.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What is installed together: packages, whose modules have the same names unless MODULES has another.
GROUPS = ["numpy safetensors onnx onnxruntime tensorboard SimpleITK", "torch", "monai", "dynamic-network-architectures",
          "pynrrd slicerio"]
MODULES = {"pynrrd": "nrrd", "dynamic-network-architectures": "dynamic_network_architectures"}
TOLERANCE = 1e-4  # of the largest logit
OFFLINE = ("NewConnectionError", "ConnectTimeout", "Temporary failure in name resolution", "Network is unreachable",
           "Connection refused", "ReadTimeout", "ProxyError")


class Skip(Exception):
    """A check that cannot be done here, and why."""


def has(modules):
    return all(importlib.util.find_spec(module) for module in modules.split())


def install(venv):
    """Goes on in a virtual environment with the packages, installed now unless they are there."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    missing = []
    for packages in GROUPS:
        test = "import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in sys.argv[1:]))"
        modules = [MODULES.get(package, package) for package in packages.split()]
        if subprocess.run([python, "-c", test, *modules]).returncode == 0:
            continue
        command = [python, "-m", "pip", "install", "--quiet", "--retries", "1", *packages.split()]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode == 0:
            continue
        if any(word in found.stderr for word in OFFLINE):
            missing.append(packages)
            continue
        sys.exit(f"interop: cannot install {packages}: {found.stderr.strip()}")
    for packages in missing:
        print(f"skipped: {packages}: PyPI is out of reach", flush=True)
    if GROUPS[0] in missing:
        sys.exit(0)
    os.execv(python, [python, __file__, *sys.argv[1:], "--installed"])


class Engine:
    """The program, and files for it."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __call__(self, *arguments, status=0):
        found = subprocess.run([self.program, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        if found.returncode != status:
            raise AssertionError(f"{' '.join(map(str, arguments))}: status {found.returncode}: {found.stderr.strip()}")
        return found.stderr

    def forward(self, model, image):
        from safetensors.numpy import load_file, save_file

        save_file({"image": image}, self.folder / "image.safetensors")
        self("forward", "--model", model, "--input", "image.safetensors", "--output", "logits.safetensors", "--force")
        return load_file(self.folder / "logits.safetensors")["logits"]


# ---- models ---------------------------------------------------------------------------------------------------------

NETWORKS = {
    "one": {"in_channels": 1, "classes": 2, "base": 4, "encoder": [1, 2, 3], "decoder": [1, 2]},
    # Channels that do not divide, which are projected: 4 of 3.
    "three": {"in_channels": 3, "classes": 4, "base": 4, "encoder": [2, 1], "decoder": [2]},
    # Channels that are repeated; the outputs are regions.
    "four": {"in_channels": 4, "classes": 3, "activation": "sigmoid", "base": 8, "encoder": [1, 2], "decoder": [1]},
    # More channels than the first level has, and one region.
    "five": {"in_channels": 5, "classes": 1, "activation": "sigmoid", "base": 4, "encoder": [1, 1], "decoder": [1]},
}
PREPROCESSING = {"normalisation": "z_score_all", "patch": [16, 16, 16], "canonical": True,
                 "class_names": ["background", 'a "quoted" name']}


def shapes(network):
    """Names and shapes of the parameters, as the contract states them."""
    base, found = network["base"], {}

    def layer(name, weight, bias):
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, [bias]

    def stage(prefix, channels_in, channels, convolutions):
        for j in range(convolutions):
            layer(f"{prefix}.conv.{j}", [channels, channels if j else channels_in, 5, 5, 5], channels)
            found[f"{prefix}.act.{j}.weight"] = [channels]

    if base % network["in_channels"]:
        layer("encoder.0.project", [base, network["in_channels"], 1, 1, 1], base)
    for level, convolutions in enumerate(network["encoder"]):
        channels = base << level
        if level:
            layer(f"encoder.{level}.down", [channels, channels // 2, 2, 2, 2], channels)
            found[f"encoder.{level}.down_act.weight"] = [channels]
        stage(f"encoder.{level}", channels if level else network["in_channels"], channels, convolutions)
    deepest = len(network["decoder"]) - 1
    for level, convolutions in enumerate(network["decoder"]):
        channels = base << level
        below = (2 if level == deepest else 4) * channels
        layer(f"decoder.{level}.up", [below, channels, 2, 2, 2], channels)
        found[f"decoder.{level}.up_act.weight"] = [channels]
        stage(f"decoder.{level}", 2 * channels, 2 * channels, convolutions)
    layer("head", [network["classes"], 2 * base, 1, 1, 1], network["classes"])
    return found


def write_model(path, network, tensors, preprocessing=None):
    from safetensors.numpy import save_file

    description = {"format": 1, "network": network}
    if preprocessing:
        description["preprocessing"] = preprocessing
    save_file(tensors, path, metadata={"vnet_engine": json.dumps(description)})


def random_model(engine, name, seed):
    """He-scaled weights, slopes of both signs, biases: nothing is zero, equal or symmetric."""
    import numpy as np

    random = np.random.default_rng(seed)
    tensors = {}
    for key, shape in shapes(NETWORKS[name]).items():
        values = random.standard_normal(shape)
        if len(shape) == 5:
            values *= (2 / (np.prod(shape[2:]) * shape[1])) ** 0.5
        tensors[key] = (values * (0.3 if len(shape) == 1 else 1)).astype(np.float32)
    path = engine.folder / f"{name}.safetensors"
    write_model(path, NETWORKS[name], tensors, PREPROCESSING if name == "one" else None)
    return path, tensors


def random_image(name, batch, extents, seed):
    import numpy as np

    shape = (batch, NETWORKS[name]["in_channels"], *extents)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def compare(found, expected):
    """Largest difference, relative to the largest logit."""
    import numpy as np

    assert found.shape == expected.shape, f"{found.shape}, expected {expected.shape}"
    assert np.isfinite(found).all() and np.ptp(expected) > 0.1, "logits say nothing"
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    assert error <= TOLERANCE, f"{error:.1e} of the largest logit, expected at most {TOLERANCE:.0e}"
    return f"{error:.1e}"


# ---- checks ---------------------------------------------------------------------------------------------------------


def onnx_logits(engine):
    import onnx
    import onnxruntime

    errors = []
    for seed, name in enumerate(NETWORKS):
        model, _ = random_model(engine, name, seed)
        file = engine.folder / f"{name}.onnx"
        engine("export", "--model", model, "--format", "onnx", "--out", file)
        onnx.checker.check_model(file, full_check=True)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        assert json.loads(metadata["vnet_engine"])["network"] == NETWORKS[name]
        activation = NETWORKS[name].get("activation", "softmax")
        assert onnx.load(file).graph.output[0].doc_string.startswith(f"before {activation}")
        if name == "one":
            assert json.loads(metadata["class_names"]) == PREPROCESSING["class_names"]
            assert metadata["normalisation"] == "z_score_all"
        # One file, several batches and extents.
        for batch, extents in [(1, (8, 8, 8)), (3, (4, 24, 16))]:
            image = random_image(name, batch, extents, seed + 7)
            found = session.run(["logits"], {"image": image})[0]
            errors.append(compare(found, engine.forward(model, image)))
    return f"onnxruntime {onnxruntime.__version__} agrees within {max(errors, key=float)} of the largest logit"


def torch_module(engine, name):
    """The exported module, imported."""
    if not has("torch"):
        raise Skip("torch is not installed")
    model, tensors = random_model(engine, name, 5)
    file = engine.folder / f"{name}_torch.py"
    engine("export", "--model", model, "--format", "torch", "--out", file, "--force")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return model, tensors, module


def torch_logits(engine):
    import numpy as np

    errors = []
    for name in NETWORKS:
        model, tensors, module = torch_module(engine, name)
        import torch

        network = module.load()
        state = network.state_dict()
        assert sorted(state) == sorted(tensors)
        assert all(np.array_equal(state[key].numpy(), tensors[key]) for key in tensors)
        assert module.NETWORK == NETWORKS[name] and module.PREPROCESSING == (PREPROCESSING if name == "one" else {})
        # Extents that divide, and some that are padded and cropped.
        for batch, extents in [(2, (8, 16, 8)), (1, (9, 7, 14))]:
            image = random_image(name, batch, extents, 11)
            with torch.no_grad():
                logits = network(torch.from_numpy(image))
                probabilities = network.probabilities(logits)
            errors.append(compare(logits.numpy(), engine.forward(model, image)))
            is_sigmoid = NETWORKS[name].get("activation") == "sigmoid"
            assert torch.equal(probabilities, logits.sigmoid() if is_sigmoid else logits.softmax(1))
    return f"PyTorch {torch.__version__} agrees within {max(errors, key=float)} of the largest logit"


def torch_round_trip(engine):
    """A state dictionary of PyTorch, without metadata and with DataParallel's prefix, comes back to the bit."""
    import numpy as np

    _, tensors, module = torch_module(engine, "three")
    import torch
    from safetensors.numpy import load_file
    from safetensors.torch import save_file

    parallel = torch.nn.DataParallel(module.load()).state_dict()
    save_file({key: value.contiguous() for key, value in parallel.items()}, engine.folder / "state.safetensors")
    engine("import", "--from", "state.safetensors", "--out", "imported.safetensors")
    found = load_file(engine.folder / "imported.safetensors")
    assert sorted(found) == sorted(tensors) and all(np.array_equal(found[key], tensors[key]) for key in tensors)
    torch.save(parallel, engine.folder / "state.pt")
    engine("import", "--from", "state.pt", "--out", "pickle.safetensors")
    assert (engine.folder / "pickle.safetensors").read_bytes() == (engine.folder / "imported.safetensors").read_bytes()
    regions(engine)
    return "a state dictionary comes back to the bit, from safetensors and from torch.save"


def regions(engine):
    """A dictionary without metadata is one of regions where that is said, or where there is a single output."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    for name, options in (("four", ["--regions"]), ("five", [])):
        _, tensors = random_model(engine, name, 4)
        save_file(tensors, engine.folder / "plain.safetensors")
        engine("import", "--from", "plain.safetensors", "--out", "regions.safetensors", "--force", *options)
        with safe_open(engine.folder / "regions.safetensors", framework="numpy") as file:
            assert json.loads(file.metadata()["vnet_engine"])["network"] == NETWORKS[name]


def torch_segmentation(engine):
    """A state dictionary of PyTorch segments a volume as PyTorch does: whole, though its extents do not divide."""
    import numpy as np
    import SimpleITK as sitk

    _, _, module = torch_module(engine, "one")
    import torch
    from safetensors.torch import save_file

    network = module.load()
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, engine.folder / "whole.safetensors")
    engine("import", "--from", "whole.safetensors", "--out", "whole_model.safetensors")
    voxels = np.random.default_rng(6).standard_normal((19, 42, 57)).astype(np.float32) * 30 + 100
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(engine.folder / "whole.nii.gz"))
    engine("segment", "--model", "whole_model.safetensors", "--input", "whole.nii.gz", "--output", "whole_labels.nii.gz",
           "--probabilities")
    image = torch.from_numpy((voxels - voxels.mean(dtype=np.float64)) / voxels.std(dtype=np.float64)).float()
    with torch.no_grad():
        expected = network(image[None, None]).softmax(1)[0, 1].numpy()
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(engine.folder / "whole_labels_prob1.nii.gz")))
    difference = float(np.abs(found - expected).max())
    assert difference <= TOLERANCE, f"probabilities differ by {difference}"
    return f"a volume is segmented whole, as by PyTorch: probabilities agree within {difference:.1e}"


def stirred(network):
    """The network ready to predict, with normalisations that are no identities and slopes of all kinds."""
    import torch

    with torch.no_grad():
        for name, tensor in network.named_buffers():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
        for tensor in network.parameters():
            if tensor.dim() == 1:
                tensor += 0.1 * torch.randn_like(tensor)
    return network.eval()


def monai(engine):
    """MONAI's VNet as it is, with ELU and with PReLU, and its DynUNet: logits within 1e-4 of the largest; its UNet is refused."""
    if not has("monai torch"):
        raise Skip("monai is not installed")
    import torch
    from monai.networks.nets import DynUNet, UNet, VNet

    torch.manual_seed(3)
    shape = dict(spatial_dims=3, in_channels=2, out_channels=3)
    strides = [1, [1, 2, 2], 2]
    networks = {
        "VNet": VNet(**shape),
        "VNet with PReLU": VNet(**shape, act="prelu", bias=True),
        "DynUNet": DynUNet(**shape, kernel_size=[3] * 3, strides=strides, upsample_kernel_size=strides[1:], filters=[4, 8, 12]),
    }
    found = {name: foreign(engine, stirred(network)) for name, network in networks.items()}
    torch.save(UNet(**shape, channels=(4, 8), strides=(2,)).state_dict(), engine.folder / "foreign.pt")
    words = engine("import", "--from", "foreign.pt", "--out", "other.safetensors", status=2)
    assert "no known network" in words, words
    return "MONAI's networks agree: " + ", ".join(f"{name} within {error}" for name, error in found.items())


def foreign(engine, network, about=None):
    """Imports a network of two channels from `torch.save` and compares its logits."""
    import numpy as np
    import torch

    state = network.state_dict()
    torch.save(dict(network_weights=state, **about) if about else state, engine.folder / "foreign.pt")
    engine("import", "--from", "foreign.pt", "--out", "foreign.safetensors", "--force")
    image = np.random.default_rng(2).standard_normal((1, 2, 16, 32, 16)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    return compare(engine.forward("foreign.safetensors", image), expected)


def nnunet(engine):
    """nnU-Net's networks, the residual one in a checkpoint with plans that become the model's preprocessing."""
    if not has("dynamic_network_architectures torch"):
        raise Skip("dynamic-network-architectures is not installed")
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
    from torch import nn

    torch.manual_seed(4)
    shape = dict(
        input_channels=2, n_stages=3, features_per_stage=[4, 8, 12], conv_op=nn.Conv3d, num_classes=3, conv_bias=True,
        kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]], strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        norm_op=nn.InstanceNorm3d, norm_op_kwargs=dict(eps=1e-5, affine=True), nonlin=nn.LeakyReLU,
    )  # fmt: skip
    configuration = dict(
        spacing=[3.0, 1.0, 1.5], patch_size=[16, 32, 16], normalization_schemes=["ZScoreNormalization"] * 2,
        use_mask_for_norm=[False, True],
    )  # fmt: skip
    plans = dict(transpose_forward=[0, 1, 2], configurations={"3d_fullres": configuration})
    labels = dict(background=0, a=1, b=2)
    about = dict(init_args=dict(plans=plans, configuration="3d_fullres", dataset_json=dict(labels=labels)))
    plain = PlainConvUNet(**shape, n_conv_per_stage=2, n_conv_per_stage_decoder=2)
    residual = ResidualEncoderUNet(**shape, n_blocks_per_stage=[1, 2, 1], n_conv_per_stage_decoder=1)
    found = foreign(engine, stirred(plain)), foreign(engine, stirred(residual), about)
    from safetensors import safe_open

    with safe_open(engine.folder / "foreign.safetensors", framework="np") as file:
        preprocessing = json.loads(file.metadata()["vnet_engine"])["preprocessing"]
    assert preprocessing["spacing"] == [1.5, 1.0, 3.0] and preprocessing["class_names"] == ["background", "a", "b"]
    assert preprocessing["normalisation"] == ["z_score_all", "z_score_non_zero"], preprocessing
    plans["transpose_forward"] = [1, 0, 2]
    torch.save(dict(network_weights=residual.state_dict(), **about), engine.folder / "foreign.pt")
    assert "transpose_forward" in engine("import", "--from", "foreign.pt", "--out", "other.safetensors", status=2)
    return f"nnU-Net's networks agree: plain within {found[0]}, residual within {found[1]}"


def tensorboard(engine):
    """Scalars, pictures and texts of a run that was interrupted, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    engine("phantom", "--out", "data", "--cases", "8", "--extents", "32,32,16", "--spacing", "4,4,4.5")
    train = ["train", "--data", "data", "--out", "run"]
    short = ["--preset", "tiny", "--steps", "6", "--set", "training.validate_every=3", "--set", "training.checkpoint_every=3"]
    engine(*train, *short)
    # As if it had been killed after step 3: steps 4 to 6 are done again.
    run = engine.folder / "run"
    next((run / "checkpoint").glob("*6.safetensors")).unlink()
    engine(*train, "--resume", "--steps", "9")

    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    board = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    of = lambda event, key: {line["step"]: line[key] for line in log if line["event"] == event}
    expected = {f"train/{key}": of("step", key) for key in ("loss", "learning_rate", "gradient_norm")}
    expected["validation/mean_dice"] = of("validation", "mean_dice")
    expected["validation/dice/class 1"] = {step: dice[0] for step, dice in of("validation", "dice").items()}
    expected["loader/waited_seconds"] = of("loader", "waited_seconds")
    expected["test/mean_dice"] = {9: next(line["mean_dice"] for line in log if line["event"] == "test")}
    assert set(board.Tags()["scalars"]) == set(expected), board.Tags()["scalars"]
    for tag, values in expected.items():
        found = {event.step: event.value for event in board.Scalars(tag)}
        assert len(found) == len(board.Scalars(tag)), f"{tag}: a step occurs twice"
        assert sorted(found) == sorted(values), f"{tag}: steps {sorted(found)}, expected {sorted(values)}"
        assert all(abs(found[s] - v) <= 2**-23 * abs(v) for s, v in values.items()), f"{tag}: {found}, expected {values}"
    assert sorted(expected["train/loss"]) == list(range(1, 10))

    pictures = {path.read_bytes() for path in (run / "overlays").glob("*.png")}
    [tag] = board.Tags()["images"]
    images = board.Images(tag)
    assert {image.encoded_image_string for image in images} == pictures and len(images) == len(pictures) == 3
    assert all(min(image.width, image.height) > 100 for image in images)
    texts = board.Tensors("configuration")
    assert (run / "config.toml").read_text().strip() in texts[-1].tensor_proto.string_val[0].decode()
    return f"EventAccumulator finds {len(expected)} scalars at all their steps, {len(images)} pictures, the configuration"


def orientation(engine):
    """A network that answers whether a voxel is brighter than the mean, on an oblique volume with unequal axes."""
    import numpy as np
    import SimpleITK as sitk

    network = {"in_channels": 1, "classes": 2, "base": 1, "encoder": [1, 1], "decoder": [1]}
    # Convolutions are zero, so that the image passes along the skip; the head doubles what is positive and negative.
    tensors = {key: np.zeros(shape, np.float32) for key, shape in shapes(network).items()}
    for key in tensors:
        if "act" in key:
            tensors[key][:] = 1
    tensors["head.weight"][:, 1, 0, 0, 0] = [-1, 1]
    write_model(engine.folder / "bright.safetensors", network, tensors, PREPROCESSING)

    voxels = np.random.default_rng(4).standard_normal((11, 17, 23)).astype(np.float32)
    voxels[1:4, 2:9, 5:7] += 9
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.9, 1.7, 3.1))
    image.SetOrigin((12.5, -40.25, 7.75))
    axis, angle = np.array([1, -2, 3]) / 14**0.5, 0.4
    k = np.cross(np.eye(3), axis)
    turn = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    # x runs along the turned -z, y along x, z along -y: no axis where the program wants it.
    image.SetDirection((turn @ np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])).ravel().tolist())
    brightest = image.TransformIndexToPhysicalPoint((6, 5, 2))
    for ending in ("nii.gz", "nii", "mha", "mhd", "nrrd", "nhdr"):
        name = f"volume.{ending}"
        sitk.WriteImage(image, str(engine.folder / name))
        engine("segment", "--model", "bright.safetensors", "--input", name, "--output", f"labels.{ending}", "--force")
        read, labels = (sitk.ReadImage(str(engine.folder / n)) for n in (name, f"labels.{ending}"))
        assert labels.GetSize() == image.GetSize()
        for what in ("GetSpacing", "GetOrigin", "GetDirection"):
            # NIfTI stores float32: 24 bits of numbers up to 50.
            found, expected = np.array(getattr(labels, what)()), np.array(getattr(read, what)())
            assert np.abs(found - expected).max() <= 50 * 2**-23, f"{name}: {what}: {found}, expected {expected}"
            original = np.array(getattr(image, what)())
            assert np.abs(found - original).max() <= 50 * 2**-21, f"{name}: {what}: {found}, expected {original}"
        assert np.array_equal(sitk.GetArrayFromImage(labels), voxels > voxels.mean()), f"{name}: voxels are elsewhere"
        assert labels[labels.TransformPhysicalPointToIndex(brightest)] == 1
    return f"SimpleITK {sitk.Version.VersionString()} finds predictions of NIfTI, MetaImage and NRRD where the image is"


def bright_model(engine, classes):
    """A network that answers class 1 where a voxel is brighter than the mean, with names of the classes."""
    import numpy as np

    network = {"in_channels": 1, "classes": classes, "base": 1, "encoder": [1, 1], "decoder": [1]}
    tensors = {key: np.zeros(shape, np.float32) for key, shape in shapes(network).items()}
    for key in tensors:
        if "act" in key:
            tensors[key][:] = 1
    tensors["head.weight"][:2, 1, 0, 0, 0] = [-1, 1]
    tensors["head.bias"][2:] = -1000
    names = ["background", "left kidney", "cyst"][:classes]
    write_model(engine.folder / "named.safetensors", network, tensors, {**PREPROCESSING, "class_names": names})


def nrrd(engine):
    """NRRD on an oblique grid, both ways: pynrrd and SimpleITK against the program, voxel for voxel."""
    if not has("nrrd slicerio"):
        raise Skip("pynrrd and slicerio are not installed")
    import nrrd as pynrrd
    import numpy as np
    import SimpleITK as sitk
    import slicerio

    random = np.random.default_rng(8)
    voxels = random.integers(-300, 300, (7, 9, 11)).astype(np.int16)  # x, y, z
    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]])
    columns, origin = turn * [0.7, 1.3, 2.9], np.array([12.5, -40.25, 7.75])
    flips = {"left-posterior-superior": [-1, -1, 1], "RAS": [1, 1, 1], "LAS": [-1, 1, 1]}
    inspect = lambda name: json.loads(subprocess.run([engine.program, "inspect", "--json", name], cwd=engine.folder, check=True,
                                                     capture_output=True, text=True).stdout)
    read = written = 0
    bright_model(engine, 3)
    # Read: what pynrrd writes in each space, encoding, byte order and type, attached and detached.
    for (space, flip), encoding, kind, detached in [
        (item, encoding, kind, detached) for item in flips.items() for encoding in ("raw", "gzip", "ascii")
        for kind in ("<i2", ">i2", "<f4", ">f8", "<i8", "i1") for detached in (False, True)
    ]:
        name = "p.nhdr" if detached else "p.nrrd"
        header = {"space": space, "space directions": columns.T, "space origin": origin, "encoding": encoding,
                  "kinds": ["domain"] * 3, "note": "a:= b"}
        values = (voxels if kind != "i1" else voxels // 4).astype(kind)
        pynrrd.write(str(engine.folder / name), values, header, detached_header=detached)
        found = inspect(name)
        expected = np.diag(flip) @ np.column_stack([columns, origin])
        assert found["shape"] == [7, 9, 11] and np.abs(np.array(found["affine"]) - expected).max() < 1e-12, found
        # Values; their order is compared below, voxel for voxel.
        assert (found["min"], found["max"]) == (values.min(), values.max()) and abs(found["mean"] - values.mean()) < 1e-9
        read += 1
    # Voxel for voxel: class 1 lies where the voxels are above the mean, in the file and in what is written for it.
    mask = voxels.astype(np.float64) > voxels.mean(dtype=np.float64)
    for space, source, target in [(s, a, b) for s in flips for a in ("p.nrrd", "p.nhdr", "i.nrrd") for b in
                                  ("o.nrrd", "o.nhdr", "o.seg.nrrd", "o.mha")]:
        if source.startswith("p"):
            header = {"space": space, "space directions": columns.T, "space origin": origin, "encoding": "gzip"}
            pynrrd.write(str(engine.folder / source), voxels, header, detached_header=source.endswith("nhdr"))
        else:
            image = sitk.GetImageFromArray(voxels.transpose())
            image.SetSpacing((0.7, 1.3, 2.9))
            image.SetOrigin(origin.tolist())
            image.SetDirection(turn.ravel().tolist())
            sitk.WriteImage(image, str(engine.folder / source), useCompression=bool(written % 2))
        engine("segment", "--model", "named.safetensors", "--input", source, "--output", target, "--force")
        image, labels = (sitk.ReadImage(str(engine.folder / n)) for n in (source, target))
        assert np.array_equal(sitk.GetArrayFromImage(image).transpose(), voxels)
        assert np.array_equal(sitk.GetArrayFromImage(labels).transpose(), mask), f"{source} to {target}: voxels are elsewhere"
        for what in ("GetSpacing", "GetOrigin", "GetDirection"):
            off = np.abs(np.array(getattr(labels, what)()) - np.array(getattr(image, what)())).max()
            assert off < 1e-12, f"{source} to {target}: {what} is off by {off}"
        written += 1
        if target.endswith("mha"):
            continue
        values, header = pynrrd.read(str(engine.folder / target))
        assert np.array_equal(values, mask) and header["space"] == "left-posterior-superior"
        to_lps = np.diag([-1, -1, 1]) @ np.diag(flips[space]) if source.startswith("p") else np.eye(3)
        assert np.abs(header["space directions"].T - to_lps @ columns).max() < 1e-12, header["space directions"]
        assert np.abs(header["space origin"] - to_lps @ origin).max() < 1e-12, header["space origin"]
    # Segments, as 3D Slicer's package reads them.
    segmentation = slicerio.read_segmentation(str(engine.folder / "o.seg.nrrd"))
    segments = [(s["name"], s["labelValue"], s["layer"]) for s in segmentation["segments"]]
    assert segments == [("left kidney", 1, 0), ("cyst", 2, 0)], segments
    x, y, z = np.nonzero(mask)
    extent = [x.min(), x.max(), y.min(), y.max(), z.min(), z.max()]
    assert segmentation["segments"][0]["extent"] == extent, segmentation["segments"][0]
    assert all(len(s["color"]) == 3 and s["id"] and s["terminology"] for s in segmentation["segments"])
    assert np.array_equal(segmentation["voxels"], mask)
    # Layers: segments of slicerio that do not overlap become one label map, in this program and in numpy.
    layers = np.zeros((2, 7, 9, 11), np.uint8)
    layers[0, 1:3, 2:5, 3:6], layers[1, 4:6, 0:4, 2:9] = 1, 1
    keys = {f"Segment{n}_{key}": value for n, name in enumerate(["left kidney", "cyst"]) for key, value in
            {"Name": name, "LabelValue": "1", "Layer": str(n), "ID": f"s{n}"}.items()}
    directions = np.vstack([[np.nan] * 3, columns.T])
    pynrrd.write(str(engine.folder / "layers.seg.nrrd"), layers, {
        "space": "LPS", "space directions": directions, "space origin": origin, "kinds": ["list"] + ["domain"] * 3, **keys})
    found = inspect("layers.seg.nrrd")
    merged = layers[0] + 2 * layers[1]
    assert found["shape"] == [7, 9, 11] and found["max"] == 2 and abs(found["mean"] - merged.mean()) < 1e-12, found
    return f"{read} headers of pynrrd {pynrrd.__version__} are read, and {written} label maps are read by pynrrd and SimpleITK"


CHECKS = [onnx_logits, torch_logits, torch_round_trip, torch_segmentation, monai, nnunet, tensorboard, orientation, nrrd]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", type=Path, default=ROOT / "target/release/vnet-engine", help="the program")
    parser.add_argument("--venv", type=Path, default=ROOT / "target/interop-venv", help="where packages are installed")
    parser.add_argument("--installed", action="store_true", help="packages are those of this Python")
    parser.add_argument("checks", nargs="*", help="names of checks [default: all]")
    arguments = parser.parse_args()
    if not arguments.installed:
        install(arguments.venv)
    failed = False
    for check in CHECKS:
        if arguments.checks and check.__name__ not in arguments.checks:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"ok: {check(Engine(arguments.engine.resolve(), Path(folder)))}", flush=True)
            except Skip as reason:
                print(f"skipped: {check.__name__}: {reason}", flush=True)
            except Exception:
                failed = True
                print(f"FAILED: {check.__name__}: {traceback.format_exc()}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
