"""Refiners by their address on a hub: the library's own cache, with the network off."""

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub.errors import EntryNotFoundError

from refiner import Refiner
from refiner.commands import main
from refiner.core.errors import DataError, DeviceError
from refiner.images.io import read_image, write_image
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.hub import fetch_refiner, is_address
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository as the library keeps it after a download: two files of one commit, under its main branch."""
    repository = tmp_path / "hub" / "models--someone--eyes"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    architecture = {"features": 4, "blocks": 1, "output": "residual"}
    for name in ("refiner.safetensors", "colour/other.safetensors"):
        file = repository / "snapshots" / COMMIT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        save_refiner(file, RefinerNetwork(RefinerArchitecture(**architecture)), training={"step": len(name)})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return repository / "snapshots" / COMMIT


def test_an_address_is_the_refiner_file_of_its_repository(cached: Path) -> None:
    assert fetch_refiner("hf://someone/eyes") == cached / "refiner.safetensors"
    assert fetch_refiner(f"hf://someone/eyes@{COMMIT}") == cached / "refiner.safetensors"
    assert fetch_refiner("hf://someone/eyes@main/colour/other.safetensors") == cached / "colour" / "other.safetensors"


@pytest.mark.usefixtures("cached")
def test_a_refiner_is_loaded_by_its_address() -> None:
    refiner = Refiner.load("hf://someone/eyes", device="cpu")
    assert refiner.metadata["training"] == {"step": len("refiner.safetensors")}
    image = np.full((9, 14), 100, np.uint8)
    assert np.array_equal(refiner(image), image)  # untrained, and residual


@pytest.mark.usefixtures("cached")
def test_the_command_line_takes_an_address(tmp_path: Path) -> None:
    write_image(tmp_path / "eye.png", np.full((9, 14), 100, np.uint8))
    arguments = ["refine", str(tmp_path / "eye.png"), str(tmp_path / "refined.png"), "--refiner", "hf://someone/eyes"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert np.array_equal(read_image(tmp_path / "refined.png"), read_image(tmp_path / "eye.png"))


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://someone/hands", "is not in the cache, and the hub cannot be reached"),
        ("hf://someone/eyes@v2", "is not in the cache"),
        ("hf://someone", "expected hf://OWNER/NAME"),
        ("hf://someone/eyes/weights.bin", "expected hf://OWNER/NAME"),
    ],
)
def test_a_file_that_is_not_available_is_one_clear_sentence(address: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        fetch_refiner(address)
    assert str(caught.value).startswith(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["hf://someone/eyes@v2", "hf://someone/eyes@v2/colour/other.safetensors"])
def test_the_hint_for_a_missing_file_replaces_the_file(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*arguments: object, **options: object) -> None:
        raise EntryNotFoundError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    file = "colour/other.safetensors" if "colour" in address else "refiner.safetensors"
    with pytest.raises(DataError) as caught:
        fetch_refiner(address)
    assert str(caught.value) == (
        f"hf://someone/eyes@v2 holds no {file}; name another file, as in hf://someone/eyes@v2/NAME.safetensors"
    )


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DeviceError, match=r"pip install 'simgan-refiner\[hub\]'"):
        fetch_refiner("hf://someone/eyes")


def test_paths_are_no_addresses() -> None:
    assert is_address("hf://a/b")
    assert not any(map(is_address, ("runs/eyes", "demo", "hf/a.safetensors", "")))
