"""Refiners are saved, loaded and uploaded in the hub's words; the hub is a server on this machine."""

import base64
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refiner import Refiner
from refiner.core.errors import DataError, DeviceError, OutputError, UsageError
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.model_card import CardTerms, model_card
from refiner.models.files.refiner_file import load_refiner, save_refiner
from refiner.models.refiner import RefinerNetwork


class FakeHub(BaseHTTPRequestHandler):
    """Takes commits as the hub does, and keeps the files of the last one."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    requests: list[tuple[str, str, dict[str, Any]]] = []  # noqa: RUF012
    refuses = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = [json.loads(line) for line in body.splitlines()] if b"\n" in body else [json.loads(body or b"{}")]
        self.requests.append((self.path, self.headers.get("Authorization", ""), lines[0]))
        answer: dict[str, Any] = {}
        if self.refuses:
            self.send_response(401)
        else:
            self.send_response(200)
        if self.path == "/api/repos/create":
            answer = {"url": f"{self.url}/someone/eyes", "name": "someone/eyes"}
        elif "/preupload/" in self.path:
            answer = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in lines[0]["files"]
                ]
            }
        elif "/commit/" in self.path:
            parts = [line["value"] for line in lines if line["key"] == "file"]
            FakeHub.files = {part["path"]: base64.b64decode(part["content"]) for part in parts}
            answer = {"commitUrl": f"{self.url}/someone/eyes/commit/0123", "commitOid": "0123", "pullRequestUrl": None}
        self._send(answer)

    def do_GET(self) -> None:
        self.send_response(200)
        self._send({"sha": "0" * 40, "id": "someone/eyes", "siblings": []})

    def _send(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    server = HTTPServer(("127.0.0.1", 0), FakeHub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    FakeHub.files, FakeHub.requests, FakeHub.refuses = {}, [], False
    yield FakeHub
    server.shutdown()
    server.server_close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1))
    save_refiner(tmp_path / "trained.safetensors", network, training={"step": 7})
    return tmp_path / "trained.safetensors"


@pytest.fixture
def refiner(path: Path) -> Refiner:
    return Refiner.load(path, device="cpu")


def test_a_saved_folder_holds_the_same_refiner_and_its_card(refiner: Refiner, path: Path, tmp_path: Path) -> None:
    assert refiner.save_pretrained(tmp_path / "shared", license="mit", datasets=["a/b"]) is None
    assert (tmp_path / "shared" / "refiner.safetensors").read_bytes() == path.read_bytes()
    card = (tmp_path / "shared" / "README.md").read_text()
    assert card == model_card(load_refiner(path), CardTerms("mit", datasets=("a/b",)))
    again = Refiner.from_pretrained(tmp_path / "shared", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (9, 14), np.uint8)
    assert np.array_equal(again(image), refiner(image))


def test_files_that_exist_are_kept(refiner: Refiner, tmp_path: Path) -> None:
    refiner.save_pretrained(tmp_path / "shared", license="mit")
    (tmp_path / "shared" / "refiner.safetensors").unlink()
    with pytest.raises(OutputError, match="already exists"):
        refiner.save_pretrained(tmp_path / "shared", license="apache-2.0")
    assert not (tmp_path / "shared" / "refiner.safetensors").exists()
    refiner.save_pretrained(tmp_path / "shared", license="apache-2.0", overwrite=True)
    assert "license: apache-2.0" in (tmp_path / "shared" / "README.md").read_text()
    with pytest.raises(OutputError, match="is a file"):
        refiner.save_pretrained(tmp_path / "shared" / "README.md", license="mit")


def test_a_licence_must_be_stated(refiner: Refiner, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="license"):
        refiner.push_to_hub("someone/eyes")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="not the name of a licence"):
        refiner.save_pretrained(tmp_path / "shared", license="My licence")
    assert not (tmp_path / "shared").exists()


def test_an_upload_is_one_commit_of_file_and_card(refiner: Refiner, path: Path, hub: type[FakeHub]) -> None:
    address = refiner.push_to_hub(
        "someone/eyes", license="cc-by-nc-4.0", private=True, token="hf_secret", commit_message="First"
    )
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/someone/eyes/commit/0123", address)
    assert hub.files["refiner.safetensors"] == path.read_bytes()
    assert hub.files["README.md"].decode() == model_card(
        load_refiner(path), CardTerms("cc-by-nc-4.0"), repository="someone/eyes"
    )
    assert 'from_pretrained("someone/eyes")' in hub.files["README.md"].decode()
    assert set(hub.files) == {"refiner.safetensors", "README.md"}
    made = next(body for place, _, body in hub.requests if place == "/api/repos/create")
    assert (made["name"], made["organization"]) == ("eyes", "someone")
    assert made.get("private") is True or made.get("visibility") == "private"
    commits = [(place, token, body) for place, token, body in hub.requests if "/commit/" in place]
    assert [(place, token) for place, token, _ in commits] == [
        ("/api/models/someone/eyes/commit/main", "Bearer hf_secret")
    ]
    assert commits[0][2]["value"]["summary"] == "First"


def test_a_saved_folder_is_uploaded_if_asked_for(refiner: Refiner, tmp_path: Path, hub: type[FakeHub]) -> None:
    (tmp_path / "eyes").mkdir()
    (tmp_path / "eyes" / "private.txt").write_text("not for others")
    address = refiner.save_pretrained(
        tmp_path / "eyes", license="mit", push_to_hub=True, branch="v2", token="hf_secret"
    )
    assert address is not None
    assert set(hub.files) == {"refiner.safetensors", "README.md"}
    assert any(place.endswith("/commit/v2") for place, _, _ in hub.requests)


def test_a_refused_upload_is_one_clear_sentence(refiner: Refiner, hub: type[FakeHub]) -> None:
    hub.refuses = True
    with pytest.raises(OutputError, match="someone/eyes cannot be written on the hub") as caught:
        refiner.push_to_hub("someone/eyes", license="mit", token="hf_wrong")
    assert "log in with hf auth login" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="expected OWNER/NAME"):
        refiner.push_to_hub("a/b/c", license="mit")


def test_a_hub_that_cannot_be_reached_is_one_clear_sentence(refiner: Refiner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OutputError, match="someone/eyes cannot be written on the hub"):
        refiner.push_to_hub("someone/eyes", license="mit", token="hf_secret")


def test_without_the_extra_it_is_named(refiner: Refiner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for use in (
        lambda: refiner.push_to_hub("someone/eyes", license="mit"),
        lambda: Refiner.from_pretrained("someone/eyes"),
    ):
        with pytest.raises(DeviceError, match=r"pip install 'simgan-refiner\[hub\]'"):
            use()
    refiner.save_pretrained(tmp_path / "shared", license="mit")  # needs no hub


def test_a_repository_is_loaded_with_the_hub_s_options(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def download(repository: str, file: str, **options: Any) -> str:
        asked.append((repository, file, options))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    refiner = Refiner.from_pretrained(
        "someone/eyes", revision="refs/pr/1", token="hf_secret", cache_dir=tmp_path, device="cpu"
    )
    assert refiner.metadata["training"] == {"step": 7}
    options = {"token": "hf_secret", "cache_dir": tmp_path, "force_download": False, "local_files_only": False}
    assert asked == [("someone/eyes", "refiner.safetensors", {**options, "revision": "refs/pr/1"})]
    Refiner.from_pretrained("hf://someone/eyes@v2", device="cpu")
    assert asked[1][2]["revision"] == "v2"


def test_what_is_on_the_disk_comes_before_the_hub(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Refiner.load(path, device="cpu").save_pretrained("runs/eyes", license="mit")
    assert Refiner.from_pretrained("runs/eyes", device="cpu").metadata["training"] == {"step": 7}
    assert Refiner.from_pretrained("demo", device="cpu").channels == 1
    with pytest.raises(DataError):
        Refiner.from_pretrained("no_such_refiner", device="cpu")
