"""The backends: the same pixels as torch but for rounding, for any number and size of images; and their errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from refiner.commands import main
from refiner.core.devices import computes_bf16
from refiner.core.errors import DeviceError, UsageError
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.io import read_image, write_image
from refiner.inference.backends import openvino_backend
from refiner.inference.backends.export import to_onnx, to_openvino
from refiner.inference.backends.registry import BACKENDS, CUDA_BACKENDS, open_backend
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.lookup import pretrained_refiners
from refiner.models.files.refiner_file import RefinerFile, save_refiner
from refiner.models.refiner import RefinerNetwork

NETWORKS: dict[str, dict[str, Any]] = {
    "paper": {"features": 8, "blocks": 2},
    "colour": {"channels": 3, "features": 4, "blocks": 1},
    "half": {"features": 8, "blocks": 1, "unshuffle": 2, "output": "residual", "smooth_change": True},
}
OTHERS = ("openvino", "onnx")
HALVED = ("torch-bf16", "torch-compiled-bf16", "openvino-bf16")
NATIVE = computes_bf16("cpu")


def refiner_of(name: str) -> RefinerFile:
    return RefinerFile.of(network_of(name))


def network_of(name: str) -> RefinerNetwork:
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(**NETWORKS[name])).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_they_agree_with_torch_at_any_number_and_size(backend: str, name: str) -> None:
    refiner, rng = refiner_of(name), np.random.default_rng(0)
    torch_s, other = (open_backend(which, refiner, device="cpu") for which in ("torch", backend))
    for count, height, width in ((3, 36, 60), (1, 35, 55), (2, 41, 66), (5, 7, 9)):
        shape = (count * other.parallel_batches, refiner.architecture.channels, height, width)
        images = rng.uniform(-1, 1, shape).astype(np.float32)
        assert np.allclose(other(images), torch_s(images), atol=2e-6)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiles no image of another size first, which takes seconds."""
    monkeypatch.setattr("refiner.inference.backends.torch_backend._check_compiler", lambda backend, channels: None)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.skipif(not NATIVE, reason="this processor only emulates bf16")
@pytest.mark.parametrize("backend", HALVED)
def test_bf16_stays_within_a_grey_level(backend: str) -> None:
    demo = pretrained_refiners()["demo"]
    exact, halved = (Refiner.load(demo, device="cpu", backend=name) for name in ("torch", backend))
    images = [record.image for record in rendered_records(EyeParameters(), 20, seed=5, size=(36, 60))]
    differences = np.array(exact(images), int) - np.array(halved(images), int)
    assert np.abs(differences).max() <= 1
    assert 0 < np.abs(differences).mean() < 0.15


@pytest.mark.parametrize("backend", HALVED)
def test_emulated_bf16_is_refused(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refiner.inference.backends.registry.computes_bf16", lambda device: False)
    with pytest.raises(DeviceError, match=f"--backend {backend} needs a processor with bf16 arithmetic"):
        open_backend(backend, refiner_of("paper"), device="cpu")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("backend", [name for name in BACKENDS if NATIVE or name not in HALVED])
def test_an_image_is_refined_as_by_torch_whatever_comes_with_it(backend: str) -> None:
    plain, refiner = (Refiner(refiner_of("half"), device="cpu", backend=name) for name in ("torch", backend))
    images = list(np.random.default_rng(1).integers(0, 256, (refiner.batch_size(36, 60) + 3, 36, 60), np.uint8))
    batched = refiner(images)
    for number in (0, 17, len(images) - 1):
        assert np.array_equal(refiner(images[number]), batched[number])
    images.append(images[0][:35, :55])
    for one, other in zip(plain(images), [*batched, refiner(images[-1])], strict=True):
        assert np.abs(one.astype(int) - other).max() <= (2 if backend in HALVED else 1)


@pytest.mark.parametrize("backend", OTHERS)
def test_a_folder_refined_by_another_backend_is_the_same_but_for_a_grey_level(backend: str, tmp_path: Path) -> None:
    save_refiner(tmp_path / "r.safetensors", network_of("half"), training={})
    rng = np.random.default_rng(0)
    for number, size in enumerate(((36, 60), (36, 60), (35, 55), (20, 90))):
        write_image(tmp_path / "in" / f"{number}.png", rng.integers(0, 256, size, np.uint8))
    options = ["--refiner", str(tmp_path / "r.safetensors"), "--device", "cpu"]
    for name in ("torch", backend):
        command = ["refine", str(tmp_path / "in"), str(tmp_path / name), *options, "--backend", name]
        assert CliRunner().invoke(main, command).exit_code == 0
    for path in (tmp_path / "torch").glob("*.png"):
        difference = np.abs(read_image(path).astype(int) - read_image(tmp_path / backend / path.name))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("backend", OTHERS)
def test_a_refiner_that_was_met_before_is_computed_without_torch(backend: str, tmp_path: Path) -> None:
    save_refiner(tmp_path / "r.safetensors", network_of("half"), training={})
    write_image(tmp_path / "eye.png", np.random.default_rng(0).integers(0, 256, (36, 60), np.uint8))
    command = ["refine", str(tmp_path / "eye.png"), "--refiner", str(tmp_path / "r.safetensors"), "--backend", backend]
    assert CliRunner().invoke(main, [*command, str(tmp_path / "first.png")]).exit_code == 0
    code = (
        "import sys; from refiner.commands import main\n"
        f"main({[*command, str(tmp_path / 'second.png')]!r}, standalone_mode=False); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "second.png").read_bytes() == (tmp_path / "first.png").read_bytes()


def test_exported_files_say_what_they_are_and_run(tmp_path: Path) -> None:
    import onnxruntime
    import openvino

    network = network_of("half")
    save_refiner(tmp_path / "r.safetensors", network, training={"step": 7})
    for out in ("eyes.onnx", "eyes.xml"):
        result = CliRunner().invoke(main, ["export", str(tmp_path / "r.safetensors"), str(tmp_path / out)])
        assert result.exit_code == 0, result.output
    again = CliRunner().invoke(main, ["export", str(tmp_path / "r.safetensors"), str(tmp_path / "eyes.xml")])
    assert again.exit_code == 2
    assert "already exists" in again.output
    images = torch.rand(3, 1, 14, 22) * 2 - 1
    with torch.inference_mode():
        expected = network(images).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "eyes.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(["refined"], {"images": images.numpy()})[0], expected, atol=2e-6)
    stored = session.get_modelmeta().custom_metadata_map
    assert json.loads(stored["refiner"])["training"] == {"step": 7}
    model = openvino.Core().read_model(tmp_path / "eyes.xml")
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.allclose(compiled({"images": images.numpy()})["refined"], expected, atol=2e-6)
    assert json.loads(model.get_rt_info("refiner").astype(str))["architecture"] == asdict(network.architecture)
    assert CliRunner().invoke(main, ["export", "demo", str(tmp_path / "eyes.txt")]).exit_code == 2


def test_where_torch_cannot_compile_it_is_said_before_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(*_: object, **__: object) -> Callable[[torch.Tensor], torch.Tensor]:
        def fail(images: torch.Tensor) -> torch.Tensor:
            raise TorchDynamoException("InvalidCxxCompiler: none is here\nand much more")

        return fail

    monkeypatch.setattr("torch.compile", compiled)
    message = (
        r"--backend torch-compiled cannot be used: torch\.compile fails here \(InvalidCxxCompiler: none is here\); "
        "use --backend torch"
    )
    with pytest.raises(DeviceError, match=message):
        Refiner(refiner_of("paper"), device="cpu", backend="torch-compiled")


def test_every_size_of_image_is_compiled() -> None:
    from torch._dynamo.utils import counters

    compiled = open_backend(
        "torch-compiled", RefinerFile.of(RefinerNetwork(RefinerArchitecture(1, 1, 1))), device="cpu"
    )
    before = counters["stats"]["unique_graphs"]
    for width in range(5, 14):  # torch itself would stop at eight
        compiled(np.zeros((1, 1, 4, width), np.float32))
    assert counters["stats"]["unique_graphs"] == before + 9


def test_a_signal_finds_its_stack_after_several_backends_have_gone() -> None:
    code = (
        "import os, signal\n"
        "from refiner.inference.backends.registry import open_backend\n"
        "from refiner.models.files.refiner_file import load_refiner\n"
        "from refiner.models.files.lookup import pretrained_refiners\n"
        "demo = load_refiner(pretrained_refiners()['demo'])\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('caught'))\n"
        "opened = [open_backend('openvino', demo, device='cpu', threads=threads) for threads in (1, 2)]\n"
        "while opened: opened.pop(0)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "caught\n"), run.stderr


def test_openvino_tells_nobody_that_it_was_imported() -> None:
    code = "import sys, refiner.inference.backends.openvino_module; print(sys.modules['openvino_telemetry'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "None\n"


@pytest.mark.parametrize("extra", OTHERS)
def test_without_the_extra_it_is_said_how_to_get_it(
    extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # what was converted before needs no converter
    monkeypatch.setitem(sys.modules, extra, None)
    monkeypatch.delitem(sys.modules, "refiner.inference.backends.openvino_module", raising=False)
    monkeypatch.setattr(openvino_backend, "_openvino_core", openvino_backend._openvino_core.__wrapped__)
    convert = {"onnx": to_onnx, "openvino": to_openvino}[extra]
    with pytest.raises(DeviceError, match=rf"{extra} is not installed; pip install 'simgan-refiner\[{extra}\]'"):
        convert(network_of("paper"))
    with pytest.raises(DeviceError, match="is not installed"):
        Refiner(refiner_of("paper"), device="cpu", backend=extra)


def test_onnx_without_its_runtime_is_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match="onnx is not installed"):
        Refiner(refiner_of("paper"), device="cpu", backend="onnx")


def test_what_no_backend_can_do_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected one of torch, torch-bf16, torch-compiled, torch-compiled-bf16, openvino"
    ):
        open_backend("tensorflow", refiner_of("paper"), device="cpu")
    for name in set(BACKENDS) - CUDA_BACKENDS:
        with pytest.raises(UsageError, match=f"--backend {name} runs only on the CPU"):
            open_backend(name, refiner_of("paper"), device="cuda")
