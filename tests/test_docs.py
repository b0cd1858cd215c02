"""The docs: the site is built without a warning, no link is dead, and the guide's commands do what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.config.networks import DiscriminatorSection, RefinerSection
from refiner.data.labels.tables import write_labels
from refiner.images.io import write_image
from refiner.losses.adversarial import OBJECTIVES
from refiner.losses.self_regularization import SELF_REGULARIZATIONS
from refiner.training.methods.build import CONDITIONS
from refiner.training.methods.registry import METHODS

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


def test_the_site_is_built_and_every_docstring_role_is_turned_into_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("refine_batch", "self_regularization_weight", "get_transform_init_args_names"):
        assert name in reference
    assert not re.search(r":(mod|func|class):", reference)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *map(str, Path("datasets").glob("*.md"))])
def test_links_outside_the_site_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith("http") or ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_every_method_is_on_its_page() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    names = [*OBJECTIVES, *SELF_REGULARIZATIONS, *METHODS, *CONDITIONS, "features"]
    assert [name for name in names if name != "none" and f"{name}`" not in page] == []
    for section in (DiscriminatorSection, RefinerSection):
        switched = [name for name, field in section.model_fields.items() if field.annotation is bool]
        assert [name for name in switched if name not in page and name != "smooth_change"] == []


def guide_commands() -> list[str]:
    blocks = re.findall(r"```shell\n(.*?)```", GUIDE, flags=re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert all(line.startswith("refiner ") for line in lines)
    return lines


def draw(folder: Path, count: int, *, seed: int, photographed: bool) -> dict[str, np.ndarray]:
    """Pictures of a dark square, twice the guide's size, and where its lower right corner is."""
    rng = np.random.default_rng(seed)
    corners = {}
    for number in range(count):
        corner = rng.integers((40, 30), (100, 80))
        image = np.full((96, 128), 190, np.uint8)
        cv2.rectangle(image, (int(corner[0]) - 24, int(corner[1]) - 20), tuple(map(int, corner)), 60, -1)
        if photographed:
            image = cv2.GaussianBlur(image, (0, 0), 2) * 0.8 + rng.normal(0, 6, image.shape)
        write_image(folder / f"{number:04d}.png", np.clip(image, 0, 255).astype(np.uint8))
        corners[f"{number:04d}.png"] = corner.astype(float)
    return corners


@pytest.mark.usefixtures("quick_judgement")
def test_the_guide_leads_from_two_folders_to_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    corners = draw(tmp_path / "synthetic", 80, seed=1, photographed=False)
    write_labels(tmp_path / "synthetic" / "labels.csv", {name: {"corner": corner} for name, corner in corners.items()})
    draw(tmp_path / "real", 130, seed=2, photographed=True)
    names = []
    for line in guide_commands():
        words = shlex.split(line)[1:]
        names.append(words[0])
        words, target = (words[:-2], words[-1]) if words[-2] == ">" else (words, None)
        few = ["--set", "steps=2", "--set", "score_every=0", "--set", "pretraining.discriminator_steps=1"]
        result = CliRunner().invoke(main, words + (few if words[0] == "train" else []))
        assert result.exit_code == 0, f"{line}: {result.output}"
        if target is not None:
            Path(target).write_text(result.stdout, encoding="utf-8")
    assert names == ["inspect", *["convert"] * 2, "train", "evaluate", "report", "refine", "export"]
    assert len(list((tmp_path / "refined").glob("*.png"))) == 80
    card = (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    assert "| renders | renders.h5 | 80 | not stated |" in card
    assert "changes nothing" in card  # two steps
