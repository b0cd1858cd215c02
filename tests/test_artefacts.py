"""The cache of this machine: kept, found again, never in the way."""

import os
from pathlib import Path

import pytest
import torch

from refiner import artefacts, backends
from refiner.artefacts import cache_folder, compiled, forget, keep, machine_key
from refiner.networks import RefinerNetwork


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "simgan-refiner"


def test_what_is_kept_is_not_made_again(cache: Path) -> None:
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"code")
        return b"code"

    assert [compiled("key", make) for _ in range(3)] == [b"code"] * 3
    assert len(made) == 1
    forget("key")
    assert compiled("key", make) == b"code"
    assert len(made) == 2
    assert cache_folder() == cache


def test_only_the_newest_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "KEPT", 3)
    for number in range(5):
        compiled(str(number), lambda: b"code")
        os.utime(cache / "compiled" / str(number), (number, number))
    assert sorted(path.name for path in (cache / "compiled").iterdir()) == ["2", "3", "4"]


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled("key", lambda: b"code") == b"code"
    keep(cache_folder() / "a.json", b"{}")
    forget("key")


def test_another_processor_or_engine_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [machine_key("fact"), machine_key("other fact")]
    monkeypatch.setattr(artefacts, "versions", lambda: {"openvino": "1", "rich": "2"})
    keys.append(machine_key("fact"))
    monkeypatch.setattr(artefacts, "processor", lambda: {"name": "another"})
    keys.append(machine_key("fact"))
    assert len(set(keys)) == 4
    monkeypatch.setattr(artefacts, "versions", lambda: {"openvino": "1", "rich": "3"})
    assert machine_key("fact") == keys[-1]


def test_openvino_compiles_a_network_once_and_again_when_that_is_damaged(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    converted: list[RefinerNetwork] = []
    convert = backends.to_openvino
    monkeypatch.setattr(backends, "to_openvino", lambda network: converted.append(network) or convert(network))
    images = torch.rand(2, 1, 10, 14) * 2 - 1

    def refined(**architecture: float | str) -> torch.Tensor:
        torch.manual_seed(1)
        network = RefinerNetwork(features=4, blocks=1, **architecture).eval()  # type: ignore[arg-type]
        return backends.open_backend("openvino", network, device="cpu")(images)

    first = refined()
    (file,) = (cache / "compiled").iterdir()
    assert torch.equal(refined(), first)
    assert len(converted) == 1
    file.write_bytes(file.read_bytes()[:1000])
    assert torch.equal(refined(), first)
    assert len(converted) == 2
    assert torch.equal(refined(), first)
    assert len(converted) == 3  # kept again
    assert not torch.equal(refined(output="residual", max_change=0.5), first)  # the same weights
    assert len(converted) == 4
