"""The cache of this machine: written, read again, and never an obstacle."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.core.files import content_digest
from refiner.inference.backends import cache as cache_module
from refiner.inference.backends import export
from refiner.inference.backends.cache import cache_folder, code_digest, load_or_compile, machine_key, write_cached
from refiner.inference.backends.registry import open_backend
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile
from refiner.models.refiner import RefinerNetwork


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "simgan-refiner"


def test_what_is_kept_is_not_made_again_unless_it_is_of_no_use(cache: Path) -> None:
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"code")
        return b"code"

    def use(content: bytes) -> str:
        if content != b"code":
            raise KeyError("damaged")
        return content.decode()

    assert [load_or_compile("key", make, use) for _ in range(3)] == ["code"] * 3
    assert len(made) == 1
    (cache / "compiled" / "key").write_bytes(b"cod")
    assert [load_or_compile("key", make, use) for _ in range(3)] == ["code"] * 3
    assert len(made) == 2
    assert cache_folder() == cache


def test_only_the_newest_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_COMPILED_NETWORKS", 3)
    for number in range(5):
        load_or_compile(str(number), lambda: b"code", len)
        os.utime(cache / "compiled" / str(number), (number, number))
    assert sorted(path.name for path in (cache / "compiled").iterdir()) == ["2", "3", "4"]


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_or_compile("key", lambda: b"code", len) == 4
    write_cached(cache_folder() / "a.json", b"{}")


def test_another_processor_or_engine_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [machine_key("fact"), machine_key("other fact")]
    monkeypatch.setattr(cache_module, "versions", lambda: {"openvino": "1", "rich": "2"})
    keys.append(machine_key("fact"))
    monkeypatch.setattr(cache_module, "processor", lambda: {"name": "another"})
    keys.append(machine_key("fact"))
    assert len(set(keys)) == 4
    monkeypatch.setattr(cache_module, "versions", lambda: {"openvino": "1", "rich": "3"})
    assert machine_key("fact") == keys[-1]


def test_other_code_is_another_key_even_of_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def edited(path: Path) -> str:
        read.append(path.relative_to(Path(cache_module.__file__).parents[2]).as_posix())
        return "edited" if path.name == "refiner.py" else content_digest(path)

    key = machine_key("fact")
    code_digest.cache_clear()
    assert machine_key("fact") == key
    monkeypatch.setattr(cache_module, "content_digest", edited)
    code_digest.cache_clear()
    try:
        assert machine_key("fact") != key
    finally:
        code_digest.cache_clear()
    assert {"models/refiner.py", "models/architecture.py", "inference/backends/export.py"} <= set(read)


@pytest.mark.parametrize(("backend", "converter"), [("openvino", "to_openvino"), ("onnx", "to_onnx")])
def test_a_network_is_converted_once_and_again_when_that_is_damaged(
    backend: str, converter: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    converted: list[RefinerNetwork] = []
    convert = getattr(export, converter)
    monkeypatch.setattr(export, converter, lambda network: converted.append(network) or convert(network))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 1, 10, 14)).astype(np.float32)

    def refined(**settings: float | str) -> np.ndarray:
        torch.manual_seed(1)
        network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, **settings))  # type: ignore[arg-type]
        torch.nn.init.normal_(network.head.weight)
        return open_backend(backend, RefinerFile.of(network), device="cpu")(images)

    first = refined()
    (file,) = (cache / "compiled").iterdir()
    assert np.array_equal(refined(), first)
    assert len(converted) == 1
    file.write_bytes(file.read_bytes()[:1000])
    assert np.array_equal(refined(), first)
    assert np.array_equal(refined(), first)  # kept again
    assert len(converted) == 2
    assert not np.array_equal(refined(output="residual", max_change=0.5), first)  # of another architecture
    assert len(converted) == 3
