"""Exported models: any height and width, as torch computes it, with named axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from refiner.inference.backends.export import export_refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile
from refiner.models.refiner import RefinerNetwork

SIZES = [(36, 60), (35, 55), (36, 55), (1, 1), (2, 7)]
"""Multiples of the blocks of pixels that networks fold, and other sizes."""

NETWORKS: dict[str, dict[str, Any]] = {
    "paper": {"padding": "zeros"},
    "half": {"unshuffle": 2, "output": "residual", "smooth_change": True},
    "third, colour": {"unshuffle": 3, "channels": 3, "output": "residual", "keep_background": True},
}


def exported(name: str, path: Path) -> RefinerNetwork:
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, **NETWORKS[name])).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.15)
    export_refiner(RefinerFile.of(network), path)
    return network


def images_of(network: RefinerNetwork, count: int, height: int, width: int) -> tuple[torch.Tensor, np.ndarray]:
    images = torch.rand(count, network.architecture.channels, height, width) * 2 - 1
    with torch.inference_mode():
        return images, network(images).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_takes_any_size_and_agrees_with_torch(name: str, tmp_path: Path) -> None:
    import onnxruntime

    network = exported(name, tmp_path / "r.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "r.onnx", providers=["CPUExecutionProvider"])
    for number, (height, width) in enumerate(SIZES):
        images, expected = images_of(network, 1 + number % 2, height, width)
        (refined,) = session.run(["refined"], {"images": images.numpy()})
        assert refined.shape == expected.shape
        assert np.abs(expected - images.numpy()).max() > 0.05
        np.testing.assert_allclose(refined, expected, atol=5e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_openvino_takes_any_size_and_agrees_with_torch(name: str, tmp_path: Path) -> None:
    import openvino

    network = exported(name, tmp_path / "r.xml")
    core = openvino.Core()
    model = core.compile_model(tmp_path / "r.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for number, (height, width) in enumerate(SIZES):
        images, expected = images_of(network, 1 + number % 2, height, width)
        refined = model({"images": images.numpy()})["refined"]
        assert refined.shape == expected.shape
        np.testing.assert_allclose(refined, expected, atol=5e-6)


def test_the_axes_of_input_and_output_have_names(tmp_path: Path) -> None:
    import onnx
    import onnxruntime
    import openvino

    exported("half", tmp_path / "r.onnx")
    exported("half", tmp_path / "r.xml")
    graph = onnx.load(tmp_path / "r.onnx").graph
    for value in (*graph.input, *graph.output):
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert axes == ["batch", 1, "height", "width"]
    session = onnxruntime.InferenceSession(tmp_path / "r.onnx", providers=["CPUExecutionProvider"])
    for node in (*session.get_inputs(), *session.get_outputs()):
        assert node.shape == ["batch", 1, "height", "width"]
    model = openvino.Core().read_model(tmp_path / "r.xml")
    for port, name in ((model.input(), "images"), (model.output(), "refined")):
        assert port.get_any_name() == name
        assert port.get_partial_shape().rank.get_length() == 4
        assert openvino.layout_helpers.get_layout(port) == openvino.Layout("NCHW")
