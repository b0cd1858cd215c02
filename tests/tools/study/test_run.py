"""Whole studies: from renders to pages, resumed after a kill, with failing tasks."""

import fcntl
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from refiner.core.errors import TrainingError
from refiner.core.locks import locked
from refiner.gaze.prediction import GazeEstimator
from tools.study.commands import main
from tools.study.configuration import Study
from tools.study.plan import Plan, target_digest
from tools.study.products import stages
from tools.study.report.page import write_pages
from tools.study.results import FinishedResults, collect_results
from tools.study.results_file import read_results_file
from tools.study.schedule import run_tasks
from tools.study.tasks import Place, Task, missing_tasks

ROOT = Path(__file__).parents[3]

Fixture = Callable[..., Any]


def test_a_study_from_renders_to_its_page(
    run_study: Fixture, read_single: Fixture, study: Study, tmp_path: Path
) -> None:
    _, place, done = run_study(study, tmp_path / "out", list(study.configuration.variants))
    assert done > 50
    result = read_single(place, "refined-0-inductive")
    assert result["images"] == sum(count for count, _, _ in result["groups"].values())
    mean = sum(count * error for count, error, _ in result["groups"].values()) / result["images"]
    assert mean == pytest.approx(result["error"]["mean"], rel=1e-4)
    straight = result["slices"]["straight"]
    for entry in (result, straight):
        unbiased = sum(count * error for count, _, error in entry["groups"].values()) / entry["images"]
        assert unbiased == pytest.approx(entry["unbiased"], rel=1e-4)
    assert 0 < straight["images"] < result["images"]
    other = read_single(place, "refined-1-inductive")
    assert not set(other["groups"]) & set(result["groups"])
    assert set(other["groups"]) | set(result["groups"]) == set(read_single(place, "raw-0-transductive")["groups"])
    assert other["images"] + result["images"] == 60
    assert result["real_count"] + result["images"] == 60
    assert set(result["slices"]) == {"straight"}  # no image has P 7
    assert 0 <= result["scores"]["c2st_accuracy"] <= 1
    assert result["scores"]["distance"] > 0
    assert read_single(place, "raw-0-inductive")["scores"]["distance"] == result["scores"]["synthetic_distance"]
    assert [len(line.split()) for line in result["answers"].values()] == [result["images"]] * 3
    shown = [set(one["answers"]["images"].split()) for one in (result, other)]
    assert shown[0] | shown[1] == {str(number) for number in range(60)}
    assert set(read_single(place, "raw-0-transductive")["answers"]) == {"pitch", "yaw"}
    assert result["seconds"]["refiner"] > 0
    assert result["settings"]["estimator"]["configuration"]["steps"] == 3
    models = place.out / "models" / "refined-0-inductive"
    assert {path.name for path in models.iterdir()} == {"estimator.safetensors", "refiner.safetensors"}
    assert GazeEstimator.load(models / "estimator.safetensors").equalize
    assert read_single(place, "raw-0-transductive")["real_count"] == 0
    assert read_single(place, "few-1-inductive")["real_count"] == 10
    assert read_single(place, "real-0-transductive")["images"] == 60  # each half by the other's estimator
    # Real images of one half are scored against those of the other, and no pupil is known.
    assert read_single(place, "real-0-transductive")["scores"] == {}
    of_real = read_single(place, "real-0-inductive")["scores"]
    assert of_real["distance"] == of_real["synthetic_distance"] > 0
    assert of_real["drift"] is None

    page = tmp_path / "results.md"
    page.write_text("before\n<!-- table: tiny inductive -->\nold\n<!-- end -->\nafter\n")
    (tmp_path / "results").mkdir()
    shutil.copy(place.results, tmp_path / "results" / "tiny.jsonl")
    written, unused = write_pages(tmp_path / "results", [page], tmp_path / "figures")
    text = page.read_text()
    assert text.startswith("before\n<!-- table: tiny inductive -->\n| variant |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "tiny transductive differences" in unused
    assert "tiny inductive" not in unused
    figures = {path: path.read_text() for path in written if path.suffix == ".svg"}
    names = {"tiny-transductive.svg", "tiny-inductive.svg", "tiny-inductive-real-count.svg"}
    assert {path.name for path in figures} == names
    write_pages(tmp_path / "results", [page], tmp_path / "figures")
    assert page.read_text() == text
    assert {path: path.read_text() for path in figures} == figures


def test_finished_results_are_known_wherever_products_are(run_study: Fixture, study: Study, tmp_path: Path) -> None:
    plan, place, _ = run_study(study, tmp_path / "out", ["permuted"], [0])
    elsewhere = Place(place.study, place.target, tmp_path / "new", place.results, "cpu")
    wanted = list(plan.results(["permuted"], [0, 1]))
    finished = FinishedResults(elsewhere)
    assert {task.settings["seed"] for task in wanted if finished.has(task)} == {0}
    place.results.write_text(place.results.read_text().replace(wanted[1].digest, "0" * 64))  # as of other settings
    finished = FinishedResults(elsewhere)
    assert [finished.has(task) for task in wanted[:2]] == [True, False]


def test_single_results_are_collected_and_none_is_lost(run_study: Fixture, study: Study, tmp_path: Path) -> None:
    plan, place, _ = run_study(study, tmp_path / "out", ["permuted"], [0])
    before = read_results_file(place.results).results
    assert list(before) == [("permuted", 0, "inductive"), ("permuted", 0, "transductive")]
    shutil.rmtree(place.out / "results")
    run_study(study, tmp_path / "out", ["raw"], [0])
    after = read_results_file(place.results).results
    assert {key: after[key] for key in before} == before
    assert len(after) == 4
    # An older single result does not replace a collected one that follows from the present configuration.
    name = place.out / "results" / "raw-0-inductive.json"
    name.write_text(json.dumps({**json.loads(name.read_text()), "design": "older", "images": 1}))
    collect_results(study, plan, place)
    assert read_results_file(place.results).results == after
    lines = [json.loads(line) for line in place.results.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["study", "renderer", *["result"] * 4]


def test_a_task_that_fails_stops_only_what_needs_it(
    read_single: Fixture,
    place_of: Fixture,
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(task: Task, place: Place) -> dict[str, Any]:
        raise TrainingError("the loss is not finite")

    monkeypatch.setitem(stages.STAGES, "refiner", fail)
    plan, place = Plan(study, target_digest(study.target())), place_of(study, tmp_path)
    tasks = missing_tasks(plan.results(["raw", "refined"], [0]), lambda task: False)
    said: dict[str, list[float | str]] = {}
    failures = run_tasks(tasks, place, workers=0, report=lambda task, out: said.setdefault(task.stage, []).append(out))
    assert said["refiner"] == ["the loss is not finite"] * 2
    assert said["refined"] == ["was not started, because one of its inputs failed"] * 2
    assert failures == 2 + 2 + 2 + 2 + 2  # refiner, refined, scores, estimator, result
    assert read_single(place, "raw-0-inductive")["variant"] == "raw"


def test_killed_it_goes_on(values: dict[str, Any], tmp_path: Path) -> None:
    values["variants"] = {"refined": {"adaptation": "ours", "protocols": ["transductive"], "against": []}}
    values["against"] = []
    values["refiner"]["overrides"] |= {"steps": 200, "checkpoint_every": 20}
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(values))
    arguments = ["run", str(file), "--out", str(out), "--seeds", "0", "--workers", "1"]
    command = [sys.executable, "-m", "tools.study", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        _wait_for(lambda: any(out.glob("refiner/*/run/checkpoints/step-*.pt")))
        process.kill()
    (folder,) = out.glob("refiner/*/run")
    _wait_for(lambda: _is_free(folder / ".lock"))  # the worker does not outlive its parent
    assert not (folder.parent / "done.json").exists()
    rendered = [path.stat().st_mtime_ns for path in out.glob("synthetic/*/done.json")]
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(again.stdout)["count"] == 1
    assert "synthetic" not in again.stderr
    assert [path.stat().st_mtime_ns for path in out.glob("synthetic/*/done.json")] == rendered
    assert [path.name for path in out.glob("results/refined*.json")] == ["refined-0-transductive.json"]
    assert list(read_results_file(out / "results.jsonl").results) == [("refined", 0, "transductive")]
    assert not (folder / "checkpoints").exists()


def test_the_program_lists_refuses_and_reports(values: dict[str, Any], tmp_path: Path, outcomes: Any) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(values))
    options = [str(file), "--out", str(out)]

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    listed = call("list", *options, "--variants", "few,raw")
    assert "few" in listed.output
    assert "0? 1?" in listed.output
    assert "refined" not in listed.output
    assert call("run", *options, "--variants", "unknown").exit_code == 2
    assert call("run", *options, "--seeds", "one").exit_code == 2
    with locked(out / "lock", refusal=""):
        second = call("run", *options)
    assert second.exit_code == 1
    assert "another process works in" in second.output
    done = call("run", *options, "--variants", "permuted", "--seeds", "5", "--workers", "0")
    assert done.exit_code == 0, done.output
    assert "?" not in call("list", *options, "--variants", "permuted", "--seeds", "5").output
    assert call("run", *options, "--variants", "permuted", "--seeds", "5").output.startswith(
        "2 results wanted, no task is missing"
    )
    page = tmp_path / "results.md"
    reported = call("report", str(outcomes.folder), "--page", str(page), "--figures", str(tmp_path / "figures"))
    assert reported.output.splitlines()[:2] == [str(page), str(tmp_path / "figures" / "eyes-inductive.svg")]


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited for five minutes")


def _is_free(lock: Path) -> bool:
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
