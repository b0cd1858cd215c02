"""The docs: the site builds without a warning, links lead somewhere, commands run, generated pages are up to date."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools import mask

import refiner
from refiner.commands import main
from refiner.config.networks import DiscriminatorSection, RefinerSection
from refiner.config.recipes import find_recipe
from refiner.config.training import STATISTICS, TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.losses.adversarial import OBJECTIVES
from refiner.losses.self_regularization import SELF_REGULARIZATIONS
from refiner.training.methods.build import CONDITION_PLANES
from refiner.training.methods.registry import METHODS
from tools.pages.command_line_reference import command_line_page
from tools.pages.configuration_reference import configuration_page
from tools.pages.markers import tables_of
from tools.study.report.outcomes import read_outcomes
from tools.study.report.page import report_tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FEW_STEPS = ["--set", "steps=2", "--set", "score_every=0", "--set", "pretraining.discriminator_steps=1"]
PAGES_WITH_COMMANDS = [
    *(
        "evaluation.md",
        "formats.md",
        "gaze.md",
        "methods.md",
        "large_jobs.md",
        "backends.md",
        "sharing.md",
        "rendering.md",
    ),
]
"""Pages whose commands work on the folders that :func:`prepare` makes, in this order."""


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def commands_of(page: str) -> list[str]:
    """Commands of a page's shell blocks, continued lines joined."""
    blocks = re.findall(r"```shell\n(.*?)```", text_of(page), flags=re.S)
    return [line for line in "".join(blocks).replace("\\\n", " ").splitlines() if not line.startswith("#")]


def test_the_site_builds_and_every_docstring_role_becomes_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site" / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    for name in ("refine_batch", "self_regularization_weight", "get_transform_init_args_names"):
        assert name in reference
    for name in refiner.__all__:
        assert re.search(rf'id="refiner\.[a-z_.]+\.{name}"', reference), name
    assert not re.search(r":(mod|func|class):", reference)
    assert "0.1.0" in (tmp_path / "site" / "reference" / "changelog" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *map(str, Path("datasets").glob("*.md"))])
def test_links_outside_the_site_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith("http") or ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_the_configuration_reference_is_up_to_date() -> None:
    hint = "run python -m tools.pages.configuration_reference"
    assert text_of("reference/configuration.md") == configuration_page(), hint


def test_the_command_line_reference_is_up_to_date() -> None:
    assert text_of("reference/command_line.md") == command_line_page(), (
        "run python -m tools.pages.command_line_reference"
    )


def test_every_method_is_on_its_page() -> None:
    page = text_of("methods.md")
    names = [*OBJECTIVES, *SELF_REGULARIZATIONS, *METHODS, *CONDITION_PLANES, "features"]
    assert [name for name in names if name != "none" and f"{name}`" not in page] == []
    for section in (DiscriminatorSection, RefinerSection):
        switched = [name for name, field in section.model_fields.items() if field.annotation is bool]
        assert [name for name in switched if name not in page and name != "smooth_change"] == []


def test_the_table_of_the_methods_has_a_row_with_a_recipe_for_each() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+)`[^|]*\|$", text_of("methods.md"), flags=re.M)
    assert [method for method, _ in rows] == [*METHODS, *STATISTICS]
    for method, recipe in rows:
        assert read_configuration(find_recipe(recipe, "train"), TrainingConfiguration).method == method


def test_every_data_set_has_a_page_of_the_site() -> None:
    assert {page.name for page in (ROOT / "datasets").glob("*.md")} == {
        page.name for page in (DOCS / "datasets").glob("*.md")
    }


def test_tables_of_results_follow_from_the_committed_results() -> None:
    known = report_tables(ROOT / "results", read_outcomes(ROOT / "results"))
    pages = [ROOT / "README.md", DOCS / "results.md", *sorted((DOCS / "results").glob("*.md"))]
    tables = {page: tables_of(page.read_text(encoding="utf-8")) for page in pages}
    assert "ladder short" in tables[pages[0]]
    assert "ladder" in tables[pages[1]]
    for page, found in tables.items():
        assert found == {name: known[name] for name in found}, f"{page}: run python -m tools.study report"


def run(line: str, more: list[str]) -> None:
    """Run a command; output behind ``>`` goes into that file."""
    words = shlex.split(line, comments=True)[1:]
    words, target = (words[:-2], words[-1]) if len(words) > 2 and words[-2] == ">" else (words, None)
    result = CliRunner().invoke(main, words + more)
    assert result.exit_code == 0, f"{line}: {result.output}"
    if target is not None:
        Path(target).write_text(result.stdout, encoding="utf-8")


@pytest.mark.usefixtures("installed_wheel", "quick_judgement")
def test_the_guide_leads_from_annotated_renders_to_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("refiner.evaluation.heads.masks.MasksHead.steps", 2)
    lines = [re.sub(r"--count \d+", "--count 80", line) for line in commands_of("guide.md")]
    assert all(line.startswith("refiner ") for line in lines)
    for line in lines:
        run(line, FEW_STEPS if " train " in line and "--dry-run" not in line else [])
    names = [line.split()[1] for line in lines]
    steps = ["inspect", *["convert"] * 2, *["train"] * 3, "evaluate", "report", "refine", "convert", "export"]
    assert names == [*["objects"] * 3, *steps]

    # A refiner of two steps breaks no object, so that the annotations stay as they were.
    assert len(list((tmp_path / "refined").glob("*.png"))) == 80
    annotations = (tmp_path / "renders" / "annotations.json").read_bytes()
    assert (tmp_path / "refined" / "annotations.json").read_bytes() == annotations
    before = json.loads(annotations)
    objects = {each["id"]: each for each in before["annotations"]}
    assert len(objects) > 240

    # Half the size: boxes are halved, and masks are those of every second pixel.
    after = json.loads((tmp_path / "small" / "renders" / "annotations.json").read_text(encoding="utf-8"))
    assert {(image["height"], image["width"]) for image in after["images"]} == {(48, 64)}
    assert {each["id"] for each in after["annotations"]} == set(objects)
    for each in after["annotations"]:
        original = objects[each["id"]]
        assert each["category_id"] == original["category_id"]
        np.testing.assert_allclose(each["bbox"], np.array(original["bbox"]) / 2, atol=1e-6)
        small, large = (mask.decode(values["segmentation"]) for values in (each, original))
        np.testing.assert_array_equal(small, large[1::2, 1::2])

    # An ImageFolder has a row for each image.
    rows = [json.loads(line) for line in (tmp_path / "hub" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(len(row["objects"]["bbox"]) for row in rows) == len(objects)
    card = (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    assert "changes nothing" in card  # two steps

    result = CliRunner().invoke(main, ["train", "mine.yaml", "--dry-run"])  # the file that the guide makes
    assert result.exit_code == 0
    assert "- 96" in result.stdout


def prepare() -> None:
    """Make the renders, real images, labelled real images, UnityEyes frames and the refiner that the pages name."""
    run("refiner render renders --count 80 --seed 1", [])
    run("refiner render real --target-camera --count 136 --seed 2", [])
    run("refiner render labelled_real --count 40 --seed 3", [])
    run("refiner render unityeyes --layout unityeyes --count 30 --size 72x120 --colour", [])
    run("refiner objects blenderproc/coco_data --count 8", [])
    run("refiner train eyes --synthetic renders --real real", FEW_STEPS)
    run("refiner refine renders refined --refiner runs/eyes", [])


def shortened(line: str) -> tuple[str, list[str]]:
    """Return a command of a page with fewer images, and further options that make it fast."""
    line = re.sub(r"--count \d+", "--count 60", line)
    if " train " in line:
        return line, ["--set", "steps=2"] if " gaze " in line else FEW_STEPS
    return line, ["--overwrite"] if re.match(r"refiner (refine renders refined --refiner demo|export)", line) else []


@pytest.mark.usefixtures("installed_wheel", "quick_judgement")
def test_commands_of_the_other_pages_run(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refiner.eyes.calibration.POOL", 50)
    monkeypatch.chdir(tmp_path_factory.mktemp("pages"))
    prepare()
    for page in PAGES_WITH_COMMANDS:
        if page == "rendering.md":  # makes the folders that the other pages use
            monkeypatch.chdir(tmp_path_factory.mktemp("rendering"))
        for line in commands_of(page):
            if line.startswith("refiner ") and "benchmark" not in line:
                run(*shortened(line))


def test_every_command_of_every_page_is_understood() -> None:
    lines = [line for page in sorted(DOCS.glob("*.md")) for line in commands_of(page.name)]
    for line in lines:
        if "refiner " not in line:
            continue
        words = line[line.index("refiner ") :].replace("'", "").partition(" #")[0].split()[1:]
        command: click.Command | None = main
        context = click.Context(main)
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert [word for word in words if word.startswith("--") and word not in known] == [], line
