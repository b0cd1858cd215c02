"""A refiner for other engines, ONNX and OpenVINO, with any number of images of any size; or its file by itself.

What is exported for an engine takes ``images`` and gives ``refined``, both (N, C, H, W), float32, in [-1, 1]. Where the
network folds blocks of pixels, H and W are multiples of their side, which stands in the file as ``multiple``.
"""

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refiner.core.errors import OutputError, missing_extra
from refiner.core.files import atomic_path, write_bytes
from refiner.models.refiner import RefinerNetwork
from refiner.models.refiner_file import RefinerFile, save_refiner

SUFFIXES = (".onnx", ".xml", ".safetensors")
"""Of ONNX files, of OpenVINO's, which put their weights into a ``.bin`` beside, and of refiner files."""

OPSET = 18


def to_onnx(network: RefinerNetwork, metadata: Mapping[str, Any] | None = None) -> bytes:
    """An ONNX model.

    Args:
        network: in evaluation mode, on the CPU.
        metadata: of its file, carried along as JSON under ``refiner``.

    Raises:
        DeviceError: the extra ``onnx`` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx") from error
    free = {0: "images", 2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of tracing: sizes are padded outside, and the exporter is an older one
        file = Path(folder) / "refiner.onnx"
        torch.onnx.export(
            network.to(memory_format=torch.contiguous_format),
            (_example(network),),
            file,
            dynamo=False,
            input_names=["images"],
            output_names=["refined"],
            dynamic_axes={"images": free, "refined": free},
            opset_version=OPSET,
        )
        model = onnx.load(str(file))
    entries = {
        "refiner": json.dumps(dict(metadata or {}), sort_keys=True),
        "multiple": str(network.architecture.unshuffle),
    }
    onnx.helper.set_model_props(model, entries)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def to_openvino(network: RefinerNetwork, metadata: Mapping[str, Any] | None = None) -> Any:
    """An ``openvino.Model``; see :func:`to_onnx`.

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
    model.inputs[0].get_tensor().set_names({"images"})
    model.outputs[0].get_tensor().set_names({"refined"})
    model.set_rt_info(json.dumps(dict(metadata or {}), sort_keys=True), "refiner")
    model.set_rt_info(str(network.architecture.unshuffle), "multiple")
    return model


def export_refiner(refiner: RefinerFile, path: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a refiner as an ONNX, OpenVINO or refiner file, chosen by the suffix.

    Args:
        refiner: as loaded.
        path: ending in one of :data:`SUFFIXES`.
        overwrite: whether files may be there already.

    Returns:
        What was written.

    Raises:
        OutputError: another suffix, or a file in the way.
        DeviceError: an extra is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise OutputError(f"{path}: ends in {path.suffix or 'nothing'}, expected one of {' '.join(SUFFIXES)}")
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    for file in files:
        if file.exists() and not overwrite:
            raise OutputError(f"{file}: is there already; choose another name, or replace it with --overwrite")
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
    block = network.architecture.unshuffle
    return torch.zeros(2, network.architecture.channels, 4 * block, 6 * block)
