"""A tiny demo on objects resumes after an interruption, and prints what its files say."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from pycocotools import mask

from refiner.commands import main
from refiner.core.rng import numpy_generator
from refiner.demos import objects as demo
from refiner.demos.objects import RECIPE, ObjectScale
from refiner.images.io import read_image, write_image
from refiner.objects.rendering import render_scene
from refiner.objects.scene import SceneRanges, draw_scene

SIZE = (48, 64)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole demo on small images and few steps; nothing is left out."""
    monkeypatch.setattr(demo, "SIZE", SIZE)
    monkeypatch.setattr(demo, "SCALE", ObjectScale(synthetic=70, real=70, test_images=20, training_steps=2))
    nets = {"refiner": {**RECIPE["refiner"], "features": 8}, "discriminator": {"width": 0.25}}
    pretraining = {"refiner_steps": 0, "discriminator_steps": 1}
    monkeypatch.setattr(demo, "RECIPE", {**RECIPE, **nets, "size": list(SIZE), "pretraining": pretraining})
    monkeypatch.setattr("refiner.evaluation.heads.masks.MasksHead.steps", 2)


def interrupt(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def assert_annotations_are_those_of_the_scenes(file: Path) -> None:
    """Compare with scenes that are drawn again, object by object."""
    found = json.loads(file.read_text(encoding="utf-8"))
    names = {each["id"]: each["name"] for each in found["categories"]}
    assert len(found["images"]) == 70
    for image in found["images"][:5]:
        number = int(Path(image["file_name"]).stem)
        scene = render_scene(draw_scene(SceneRanges(), numpy_generator(0, "scene", number), SIZE), SIZE)
        objects = [each for each in found["annotations"] if each["image_id"] == image["id"]]
        assert [names[each["category_id"]] for each in objects] == [thing.category for thing in scene.things]
        for owner, each in enumerate(objects):
            np.testing.assert_array_equal(mask.decode(each["segmentation"]), scene.owners == owner)


@pytest.mark.usefixtures("small", "quick_judgement")
def test_it_resumes_and_prints_what_its_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    command = ["demo", str(out), "--objects", "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(demo, "evaluate", interrupt)
        assert CliRunner().invoke(main, command).exit_code != 0
    refined, made = out / "refined", out / "synthetic" / "000007.png"
    assert (refined / "annotations.json").read_bytes() == (out / "synthetic" / "annotations.json").read_bytes()
    assert_annotations_are_those_of_the_scenes(refined / "annotations.json")
    assert not (out / "outcome.json").exists()

    # Blank images must lead to a verdict that says so: it comes from the files, not from the refiner.
    for file in refined.glob("*.png"):
        write_image(file, read_image(file) // 255)
    before = made.stat().st_mtime_ns
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert made.stat().st_mtime_ns == before
    outcome = json.loads((out / "outcome.json").read_text(encoding="utf-8"))
    assert outcome["decision"] == "do not use"
    assert outcome["objects_lost"][0] > 0.9
    assert f"do not use: {outcome['reasons'][0]}" in result.stdout
    assert read_image(out / "before_after.png").shape[2] == 3
    assert "do not use" in (out / "report.html").read_text(encoding="utf-8")

    # A finished demo reads its metrics.
    monkeypatch.setattr(demo, "evaluate", interrupt)
    again = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)["outcome"]
    assert (again["decision"], again["reasons"]) == ("do not use", outcome["reasons"])
    assert list(again["gain"].values() if isinstance(again["gain"], dict) else again["gain"]) == outcome["gain"]
    other = CliRunner().invoke(main, [*command, "--seed", "5"])
    assert other.exit_code == 2
    assert "other settings" in other.stderr


def test_recipe_is_the_configuration_s() -> None:
    file = yaml.safe_load((Path(__file__).parents[2] / "configs" / "objects.yaml").read_text(encoding="utf-8"))
    assert file == {**RECIPE, "steps": ObjectScale().training_steps}
