"""Refiner files: whole, equal for equal runs, and never trusted."""

import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from refiner.core.errors import DataError
from refiner.inference.backends.export import export_refiner
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.lookup import REFINER_FILE, find_refiner, is_refiner, pretrained_refiners
from refiner.models.files.refiner_file import (
    FORMAT_VERSION,
    STATISTICS_VERSION,
    load_refiner,
    save_refiner,
    upgrade_metadata,
)
from refiner.models.refiner import RefinerNetwork

ARCHITECTURE = {"channels": 3, "features": 4, "blocks": 1, "unshuffle": 2, "output": "residual", "max_change": 0.5}


@pytest.fixture
def network() -> RefinerNetwork:
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(**ARCHITECTURE))
    torch.nn.init.normal_(network.head.weight)
    return network


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: Any) -> Path:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    path.write_bytes(safetensors.torch.save(tensors, {"refiner": text}))
    return path


def good(network: RefinerNetwork, **changes: Any) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "architecture": ARCHITECTURE,
        "value_range": [-1, 1],
        "training": {},
        **changes,
    }


def test_what_is_saved_comes_back(tmp_path: Path, network: RefinerNetwork) -> None:
    path = tmp_path / "runs" / "a" / REFINER_FILE
    save_refiner(path, network, training={"steps": 7})
    for where in (path, path.parent):
        file = load_refiner(where)
        loaded, metadata = file.network(), file.metadata
        assert not loaded.training
        assert file.architecture == RefinerArchitecture(**ARCHITECTURE)
        assert metadata["architecture"] == asdict(file.architecture)
        assert metadata["training"] == {"steps": 7}
        assert metadata["value_range"] == [-1, 1]
        images = torch.rand(2, 3, 5, 7) * 2 - 1
        assert torch.equal(loaded(images), network(images))


def test_equal_networks_give_equal_files(tmp_path: Path, network: RefinerNetwork) -> None:
    copy = RefinerNetwork(RefinerArchitecture(**ARCHITECTURE))
    copy.load_state_dict(network.state_dict())
    copy.to(memory_format=torch.channels_last)  # how it lies in memory does not count
    save_refiner(tmp_path / "a", network, training={"b": 1, "a": 2})
    save_refiner(tmp_path / "b", copy, training={"a": 2, "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_metadata_can_be_read_without_torch(tmp_path: Path, network: RefinerNetwork) -> None:
    save_refiner(tmp_path / "r", network, training={})
    data = (tmp_path / "r").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["refiner"])["architecture"].items() >= ARCHITECTURE.items()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, network: RefinerNetwork) -> None:
    save_refiner(tmp_path / "r", network, training={})
    data = (tmp_path / "r").read_bytes()
    for cut in (0, 1, 8, 40, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(DataError, match=r"cut is .*, not a refiner file|cut .* bytes are missing"):
            load_refiner(tmp_path / "cut")


def test_a_pickle_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (tmp_path / "hacked",)  # type: ignore[return-value]

    (tmp_path / "r.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError):
        load_refiner(tmp_path / "r.safetensors")
    torch.save({"state": Evil()}, tmp_path / "t.safetensors")
    with pytest.raises(DataError):
        load_refiner(tmp_path / "t.safetensors")
    assert not (tmp_path / "hacked").exists()


def test_a_missing_file_and_a_folder_without_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.safetensors is missing, not a refiner file"):
        load_refiner(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="is an empty folder, not a refiner; name the run folder of a refiner"):
        load_refiner(tmp_path)


def test_other_weights_are_no_refiner(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}))
    with pytest.raises(DataError, match="is a safetensors file of another program, not a refiner file"):
        load_refiner(tmp_path / "r")


def test_a_newer_format_is_refused_with_the_remedy(tmp_path: Path, network: RefinerNetwork) -> None:
    path = write(tmp_path / "r", network.state_dict(), good(network, format_version=STATISTICS_VERSION + 1))
    with pytest.raises(DataError, match=f"newer than {STATISTICS_VERSION}; update simgan-refiner"):
        load_refiner(path)


@pytest.mark.parametrize(
    "metadata",
    [
        "no json",
        "[]",
        "null",
        "{}",
        {"format_version": "one"},
        {"format_version": 1},
        {"format_version": 1, "architecture": {"features": 5}},
        {"format_version": 1, "architecture": {"colour": True}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "features": "4"}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "features": -4}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "blocks": 10**12}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "max_change": "large"}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "output": "sine"}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "features": 8}},
        {"format_version": 1, "architecture": {**ARCHITECTURE, "unshuffle": 1}},
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, network: RefinerNetwork, metadata: Any) -> None:
    with pytest.raises(DataError, match=r"its weights do not fit its architecture|metadata that cannot be (read|used)"):
        load_refiner(write(tmp_path / "r", network.state_dict(), metadata))


def test_metadata_and_weights_have_their_own_message(tmp_path: Path, network: RefinerNetwork) -> None:
    for architecture, words in (
        ({**ARCHITECTURE, "colour": True}, "has refiner metadata that cannot be used"),
        ({**ARCHITECTURE, "features": 8}, "cannot be loaded: its weights do not fit its architecture"),
    ):
        path = write(tmp_path / "r", network.state_dict(), {"format_version": 1, "architecture": architecture})
        with pytest.raises(DataError) as caught:
            load_refiner(path)
        assert str(caught.value).startswith(f"{path} {words} (")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, network: RefinerNetwork, value: float) -> None:
    network.stem.weight.data[0, 0, 0, 0] = value
    save_refiner(tmp_path / "r", network, training={})
    with pytest.raises(DataError, match="weights that are not finite"):
        load_refiner(tmp_path / "r")


def test_a_missing_or_a_further_tensor_is_refused(tmp_path: Path, network: RefinerNetwork) -> None:
    tensors = dict(network.state_dict())
    for changed in ({**tensors, "extra": torch.zeros(1)}, dict(list(tensors.items())[1:])):
        with pytest.raises(DataError, match="its weights do not fit"):
            load_refiner(write(tmp_path / "r", changed, good(network)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "refiner.safetensors")
    with pytest.raises(DataError, match="is not a regular file"):
        load_refiner(tmp_path)


def test_a_pretrained_refiner_is_found_by_its_name(
    tmp_path: Path, network: RefinerNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless a file of that name is in the current folder."""
    monkeypatch.chdir(tmp_path)
    assert find_refiner(Path("demo")) == pretrained_refiners()["demo"]
    assert load_refiner(Path("demo")).metadata["training"]["step"] > 1000
    save_refiner(Path("demo"), network, training={"step": 7})
    assert find_refiner(Path("demo")) == Path("demo")
    assert load_refiner(Path("demo")).metadata["training"] == {"step": 7}


def test_a_folder_without_a_refiner_does_not_hide_a_pretrained_one(
    tmp_path: Path, network: RefinerNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``refiner demo`` leaves a folder ``demo``, after which ``--refiner demo`` must still work."""
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert find_refiner(Path("demo")) == pretrained_refiners()["demo"]
    assert not is_refiner(Path("demo"))  # as the value of `evaluate --refined`, it is a folder of images
    save_refiner(Path("demo") / REFINER_FILE, network, training={"step": 7})
    assert find_refiner(Path("demo")) == Path("demo") / REFINER_FILE
    assert is_refiner(Path("demo"))


def test_a_file_of_an_older_release_loads_and_refines(tmp_path: Path) -> None:
    """It lacks everything that came later: a training summary, smooth_change, keep_background, padding."""
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, unshuffle=2, output="residual", padding="zeros"))
    torch.nn.init.normal_(network.head.weight)
    architecture = {"channels": 1, "features": 4, "blocks": 1, "unshuffle": 2, "output": "residual"}
    entry = json.dumps({"format_version": 1, "architecture": architecture})
    safetensors.torch.save_file(network.state_dict(), tmp_path / "old.safetensors", {"refiner": entry})
    images = torch.rand(2, 1, 9, 14) * 2 - 1
    with torch.no_grad():
        refined = Refiner.load(tmp_path / "old.safetensors", device="cpu")(images)
        assert torch.allclose(refined, network.eval()(images), atol=1e-5)
    assert export_refiner(load_refiner(tmp_path / "old.safetensors"), tmp_path / "new.safetensors")
    assert load_refiner(tmp_path / "new.safetensors").digest() == load_refiner(tmp_path / "old.safetensors").digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"method": "simgan"}),
        ({"correspondence": "none", "correspondence_weight": 3.0}, {"method": "simgan"}),
        (
            {"correspondence": "cycle", "correspondence_weight": 3.0},
            {"method": "cyclegan", "cyclegan": {"cycle_weight": 3.0, "identity_weight": 0.5}},
        ),
        ({"correspondence": "contrast"}, {"method": "cut", "cut": {"patch_nce_weight": 1.0}}),
        (
            {"augmentation": {"renders": ["a"], "photographs": ["b"]}},
            {"method": "simgan", "augmentation": {"synthetic": ["a"], "real": ["b"]}},
        ),
    ],
)
def test_metadata_of_version_1_get_the_words_of_today(old: dict[str, Any], new: dict[str, Any]) -> None:
    metadata = {"format_version": 1, "architecture": {}, "training": {"step": 7, "configuration": {"steps": 7, **old}}}
    upgraded = upgrade_metadata(metadata)
    zeros = {"refiner": {"padding": "zeros"}, "discriminator": {"padding": "zeros"}}
    assert upgraded["training"] == {"step": 7, "configuration": {"steps": 7, **new, **zeros}}
    assert upgraded["format_version"] == FORMAT_VERSION
    assert upgrade_metadata(upgraded) == upgraded
    assert load_refiner(Path("demo")).metadata["training"]["configuration"]["method"] == "simgan"


def test_a_file_of_version_2_pads_with_zeros_and_a_current_one_as_it_says(tmp_path: Path) -> None:
    architecture = {"channels": 1, "features": 4, "blocks": 1}
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(**architecture, padding="zeros"))
    settings = {"method": "cut", "refiner": {"features": 4}, "discriminator": {"width": 2.0}}
    entry = {"format_version": 2, "architecture": architecture, "training": {"step": 7, "configuration": settings}}
    images = torch.rand(2, 1, 9, 14) * 2 - 1
    # The file of the older version: the same pixels as ever.
    old = load_refiner(write(tmp_path / "old", network.state_dict(), entry))
    assert old.architecture.padding == "zeros"
    assert torch.equal(old.network()(images), network(images))
    assert old.metadata["format_version"] == FORMAT_VERSION
    assert old.metadata["architecture"] == {**architecture, "padding": "zeros"}
    recorded = old.metadata["training"]["configuration"]
    assert recorded["refiner"] == {"features": 4, "padding": "zeros"}
    assert recorded["discriminator"] == {"width": 2.0, "padding": "zeros"}
    # The same weights with another padding are another refiner.
    current = {**entry, "format_version": FORMAT_VERSION, "architecture": {**architecture, "padding": "replicate"}}
    new = load_refiner(write(tmp_path / "new", network.state_dict(), current))
    assert new.architecture.padding == "replicate"
    assert not torch.equal(new.network()(images), network(images))
    with pytest.raises(DataError, match="padding is 'mirror'; expected one of replicate"):
        load_refiner(write(tmp_path / "bad", network.state_dict(), {**current, "architecture": {"padding": "mirror"}}))
