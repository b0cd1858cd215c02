"""Fixtures of the tests of studies: a study that takes seconds, and results as they are committed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tools.study.configuration import Study, StudyConfiguration
from tools.study.plan import Plan, target_digest
from tools.study.results import SINGLE_RESULTS, FinishedResults, collect_results
from tools.study.results_file import write_results_file
from tools.study.schedule import run_tasks
from tools.study.tasks import Place, missing_tasks

CONFIGS = Path(__file__).parents[3] / "configs"

VARIANTS: dict[str, Any] = {
    "raw": {"against": []},
    "refined": {"adaptation": "ours", "augmented": True},
    "matched": {"adaptation": "histogram"},
    "few": {"adaptation": "histogram", "real_count": 10, "protocols": ["inductive"], "seeds": [1]},
    "permuted": {"labels": "permuted"},
    "real": {"labels": "real"},
}


@pytest.fixture
def values(gazes: Path) -> dict[str, Any]:
    """A study that takes seconds: two steps of everything."""
    networks = {"discriminator": {"width": 0.25}, "refiner": {"features": 4, "blocks": 1}}
    few = {"steps": 2, "batch_size": 4, "history_size": 4, "precision": "fp32"}
    pretraining = {"pretraining": {"refiner_steps": 1, "discriminator_steps": 1}}
    estimator = {"steps": 3, "batch_size": 6, "precision": "fp32", "data": {"held_out": 0.3}}
    return {
        "target": {"data": str(gazes), "group": "subject", "slices": {"straight": {"P": [0]}, "none": {"P": [7]}}},
        "size": [16, 24],
        "synthetic_count": 40,
        "seeds": [0, 1],
        "against": ["raw"],
        "refiner": {"base": str(CONFIGS / "eyes.yaml"), "overrides": {**few, **networks, **pretraining}},
        "estimator": {"base": str(CONFIGS / "gaze.yaml"), "overrides": estimator},
        "scores": {"steps": 3, "images": 16},
        "renderers": {"default": {"parameters": {"images_per_person": 4}}},
        "adaptations": {
            "ours": {},
            "histogram": {"method": "histogram_matching"},
        },
        "variants": {name: dict(variant) for name, variant in VARIANTS.items()},
    }


@pytest.fixture
def study(values: dict[str, Any], tmp_path: Path) -> Study:
    return Study("tiny", tmp_path, StudyConfiguration.model_validate(values))


@pytest.fixture
def place_of() -> Callable[..., Place]:
    return _place_of


def _place_of(study: Study, out: Path) -> Place:
    return Place(study.name, study.target(), out, out / "results.jsonl", "cpu")


@pytest.fixture
def run_study() -> Callable[..., tuple[Plan, Place, int]]:
    return _run_study


def _run_study(study: Study, out: Path, variants: list[str], seeds: list[int] | None = None) -> tuple[Plan, Place, int]:
    """Run everything in this process; return the number of tasks that were run, too."""
    plan, place = Plan(study, target_digest(study.target())), _place_of(study, out)
    tasks = missing_tasks(plan.results(variants, seeds), FinishedResults(place).has)
    reported: list[float | str] = []
    assert run_tasks(tasks, place, workers=0, report=lambda task, outcome: reported.append(outcome)) == 0, reported
    collect_results(study, plan, place)
    return plan, place, len(tasks)


@pytest.fixture
def read_single() -> Callable[[Place, str], dict[str, Any]]:
    """A single result, by the name of its file."""
    return lambda place, name: json.loads((place.out / SINGLE_RESULTS / f"{name}.json").read_text())


class CommittedResults:
    """The results file of a study, which can be added to."""

    def __init__(self, folder: Path, variants: dict[str, dict[str, Any]], slices: Sequence[str] = ()) -> None:
        self.folder = folder
        self.overview = {"study": "eyes", "slices": list(slices), "variants": variants}
        self.results: dict[tuple[str, int], dict[str, Any]] = {}
        folder.mkdir(exist_ok=True)

    def add(self, variant: str, seed: int, error: float, *, design: str | None = None, **changes: Any) -> None:
        """Add or replace a result with this mean error."""
        metrics = {
            "images": 40,
            "error": {"mean": error, "low": error - 1, "high": error + 1},
            "median": error - 0.5,
            "within": {"2": 0.1, "5": 0.25, "7": 0.5, "10": 0.75},
            "unbiased": 5.0,
            "bias": [1.0, -2.0],
            "correlation": [0.5, None],
            "training_mean_error": 9.0,
            "test_mean_error": 8.3,
        }
        self.results[variant, seed] = {
            **{"variant": variant, "seed": seed, "protocol": "inductive", "design": design or variant},
            **metrics,
            "slices": {"straight": {**metrics, "error": {"mean": error / 2, "low": 0, "high": 1}}},
            "scores": {"c2st_accuracy": 0.8, "drift": [0.1, -0.2], "drift_distance": 0.3},
            "real_count": 25 if variant == "few" else 700,
            "seconds": {"synthetic": 20.0, "refiner": 100.0 + seed, "refined": 5.0, "estimator": 30.0},
            "settings": {},
            **changes,
        }
        write_results_file(self.folder / "eyes.jsonl", self.overview, self.results.values())


@pytest.fixture
def committed(tmp_path: Path) -> Callable[..., CommittedResults]:
    """Results of variants by name, each with what it adds to a plain one."""

    def make(variants: dict[str, dict[str, Any]], slices: Sequence[str] = ()) -> CommittedResults:
        plain = {"about": "", "against": [], "real_count": None}
        whole = {
            name: {**plain, "family": name, "designs": {"inductive": name}, **variant}
            for name, variant in variants.items()
        }
        return CommittedResults(tmp_path / "results", whole, slices)

    return make


@pytest.fixture
def outcomes(committed: Callable[..., CommittedResults]) -> CommittedResults:
    """Three seeds of two variants, one of a third, none of a fourth."""
    variants = {
        "raw": {},
        "refined": {"against": ["raw"]},
        "few": {"against": ["raw"], "real_count": 25, "family": "refined"},
        "later": {"against": ["raw"]},
    }
    results = committed(
        {name: {"about": f"variant {name}", **variant} for name, variant in variants.items()}, ["straight"]
    )
    errors = {"raw": [9.0, 10.0, 11.0], "refined": [8.0, 9.1, 9.9], "few": [9.5]}
    for variant, by_seed in errors.items():
        for seed, error in enumerate(by_seed):
            results.add(variant, seed, error)
    return results
