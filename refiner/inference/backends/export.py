"""Export of a refiner to ONNX, OpenVINO, or a refiner file.

Exported models take ``images`` and return ``refined``, both (N, C, H, W), float32, in [-1, 1], for any N, H and W. If
the network folds blocks of pixels, H and W must be multiples of the block's side; the file holds it as ``multiple``.
"""

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refiner.core.errors import WrongOutputError, missing_extra
from refiner.core.files import atomic_path, write_bytes
from refiner.models.refiner import RefinerNetwork
from refiner.models.refiner_file import RefinerFile, save_refiner

SUFFIXES = (".onnx", ".xml", ".safetensors")
"""Suffixes of ONNX models, OpenVINO models (with their weights in a ``.bin`` file of the same name), refiner files."""

OPSET = 18


def to_onnx(network: RefinerNetwork, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Convert a network to an ONNX model.

    Args:
        network: the network, in evaluation mode, on the CPU.
        metadata: metadata of the refiner file, stored as JSON under ``refiner``.

    Returns:
        The content of the ``.onnx`` file.

    Raises:
        DeviceError: the extra ``onnx`` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx") from error
    dynamic_axes = {0: "images", 2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns about fixed sizes, which callers pad, and an old exporter
        file = Path(folder) / "refiner.onnx"
        torch.onnx.export(
            network.to(memory_format=torch.contiguous_format),
            (_example(network),),
            file,
            dynamo=False,
            input_names=["images"],
            output_names=["refined"],
            dynamic_axes={"images": dynamic_axes, "refined": dynamic_axes},
            opset_version=OPSET,
        )
        model = onnx.load(str(file))
    # Store the metadata in the model, and check it.
    entries = {
        "refiner": json.dumps(dict(metadata or {}), sort_keys=True),
        "multiple": str(network.architecture.unshuffle),
    }
    onnx.helper.set_model_props(model, entries)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def to_openvino(network: RefinerNetwork, metadata: Mapping[str, Any] | None = None) -> Any:
    """Convert a network to an OpenVINO model.

    Args:
        network: the network, in evaluation mode, on the CPU.
        metadata: metadata of the refiner file, stored as JSON under ``refiner``.

    Returns:
        An ``openvino.Model``.

    Raises:
        DeviceError: the extra ``openvino`` is not installed.
    """
    try:
        from refiner.inference.backends.openvino_module import openvino
    except ImportError as error:
        raise missing_extra("openvino") from error
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(
            network.to(memory_format=torch.contiguous_format),
            example_input=_example(network),
            input=[-1, network.architecture.channels, -1, -1],
        )
    # Name the input and the output, and store the metadata.
    model.inputs[0].get_tensor().set_names({"images"})
    model.outputs[0].get_tensor().set_names({"refined"})
    model.set_rt_info(json.dumps(dict(metadata or {}), sort_keys=True), "refiner")
    model.set_rt_info(str(network.architecture.unshuffle), "multiple")
    return model


def export_refiner(refiner: RefinerFile, path: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a refiner as an ONNX, OpenVINO or refiner file; the suffix of the path says which.

    Args:
        refiner: the loaded refiner.
        path: the file to write; it ends in one of :data:`SUFFIXES`.
        overwrite: replace files that exist.

    Returns:
        The files that were written.

    Raises:
        OutputError: the path has another suffix, or a file exists and ``overwrite`` is False.
        DeviceError: the extra ``onnx`` or ``openvino`` is needed and not installed.
    """
    if path.suffix not in SUFFIXES:
        raise WrongOutputError(
            f"{path} has the suffix {path.suffix or '(none)'}; expected one of {', '.join(SUFFIXES)}"
        )
    # Check the path before anything is converted.
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    for file in files:
        if file.exists() and not overwrite:
            raise WrongOutputError(f"{file} already exists; choose another name, or pass --overwrite to replace it")
    # Convert and write.
    if path.suffix == ".onnx":
        write_bytes(path, to_onnx(refiner.network(), refiner.metadata))
        return files
    if path.suffix == ".safetensors":
        save_refiner(path, refiner.network(), training=refiner.metadata.get("training", {}))
        return files
    model = to_openvino(refiner.network(), refiner.metadata)
    from refiner.inference.backends.openvino_module import openvino

    with atomic_path(path) as text, atomic_path(files[1]) as weights:
        openvino.serialize(model, str(text), str(weights))
    return files


def _example(network: RefinerNetwork) -> Tensor:
    """Return a small batch to trace the network with."""
    block = network.architecture.unshuffle
    return torch.zeros(2, network.architecture.channels, 4 * block, 6 * block)
