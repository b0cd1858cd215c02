"""Export of a refiner to ONNX, OpenVINO, or a refiner file.

Exported models take ``images`` and return ``refined``, both (N, C, H, W), float32, in [-1, 1], for any N, H and W.
"""

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refiner.core.errors import UsageError, WrongOutputError, missing_extra
from refiner.core.files import atomic_path, write_bytes
from refiner.models.files.refiner_file import RefinerFile, save_refiner
from refiner.models.modules import RefinerModule
from refiner.models.refiner import RefinerNetwork

SUFFIXES = (".onnx", ".xml", ".safetensors")
"""Suffixes of ONNX models, OpenVINO models (with their weights in a ``.bin`` file of the same name), refiner files."""

OPSET = 18

_AXES = {0: "batch", 2: "height", 3: "width"}
"""Names of the axes that may have any length."""


def to_onnx(module: RefinerModule, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Convert a network to an ONNX model.

    Args:
        module: the network, in evaluation mode, on the CPU.
        metadata: metadata of the refiner file, stored as JSON under ``refiner``.

    Returns:
        The content of the ``.onnx`` file.

    Raises:
        UsageError: the refiner is no network.
        DeviceError: the extra ``onnx`` is not installed.
    """
    network = _check_network(module)
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx") from error
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns about a size that is fixed on purpose, and an old exporter
        file = Path(folder) / "refiner.onnx"
        torch.onnx.export(
            _AnySize(network),
            (_example(network),),
            file,
            dynamo=False,
            input_names=["images"],
            output_names=["refined"],
            dynamic_axes={"images": _AXES, "refined": _AXES},
            opset_version=OPSET,
        )
        model = onnx.load(str(file))
    # The output has the axes of the input; the exporter names them after operations that it cannot follow.
    (images,), (refined,) = model.graph.input, model.graph.output
    refined.type.CopyFrom(images.type)
    # Store the metadata in the model, and check it.
    onnx.helper.set_model_props(model, {"refiner": json.dumps(dict(metadata or {}), sort_keys=True)})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def to_openvino(module: RefinerModule, metadata: Mapping[str, Any] | None = None) -> Any:
    """Convert a network to an OpenVINO model.

    Args:
        module: the network, in evaluation mode, on the CPU.
        metadata: metadata of the refiner file, stored as JSON under ``refiner``.

    Returns:
        An ``openvino.Model``.

    Raises:
        UsageError: the refiner is no network.
        DeviceError: the extra ``openvino`` is not installed.
    """
    network = _check_network(module)
    try:
        from refiner.inference.backends.openvino_module import openvino
    except ImportError as error:
        raise missing_extra("openvino") from error
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(
            _AnySize(network),
            example_input=_example(network),
            input=[-1, network.architecture.channels, -1, -1],
        )
    # Name the input, the output and their axes, and store the metadata.
    for port, name in ((model.inputs[0], "images"), (model.outputs[0], "refined")):
        port.get_tensor().set_names({name})
        openvino.layout_helpers.set_layout(port, openvino.Layout("NCHW"))
    model.set_rt_info(json.dumps(dict(metadata or {}), sort_keys=True), "refiner")
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
        UsageError: the suffix is that of a network's format, but the refiner is no network.
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


def _check_network(module: RefinerModule) -> RefinerNetwork:
    """Refuse a refiner without a network, which chooses among real images by the digest of a render's pixels.

    Raises:
        UsageError: it holds statistics of real images.
    """
    if not isinstance(module, RefinerNetwork):
        raise UsageError(
            f"ONNX and OpenVINO models hold networks, but the refiner holds {module.architecture.summary}; export a "
            ".safetensors file instead"
        )
    return module


class _AnySize(nn.Module):
    """A network for tracing, which pads images to whole folded blocks in the graph.

    :class:`RefinerNetwork` pads only if an image needs it, and tracing would fix that choice.
    """

    def __init__(self, network: RefinerNetwork) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.contiguous_format)
        self.block = network.architecture.unshuffle

    def forward(self, images: Tensor) -> Tensor:
        """Refine images, (N, C, H, W)."""
        height, width = images.shape[-2:]
        if self.block > 1:
            # Repeat the last row and column, as the network does.
            for axis, length in ((2, height), (3, width)):
                places = torch.arange(length + -length % self.block, device=images.device).clamp(max=length - 1)
                images = images.index_select(axis, places)
        refined: Tensor = self.network(images)
        return refined[..., :height, :width]


def _example(network: RefinerNetwork) -> Tensor:
    """Return a small batch to trace the network with."""
    block = network.architecture.unshuffle
    return torch.zeros(2, network.architecture.channels, 4 * block, 6 * block)
