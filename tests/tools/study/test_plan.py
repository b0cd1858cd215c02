"""Plan of a study: the tasks of each variant, what they share, and what they may see."""

from pathlib import Path
from typing import Any

import pytest

from refiner.core.errors import DataError
from tools.study.configuration import Study, StudyConfiguration
from tools.study.halves import halves_of, part_numbers
from tools.study.plan import Plan
from tools.study.tasks import missing_tasks


def test_seeds_come_one_after_another_and_arms_share_what_is_equal(study: Study) -> None:
    plan = Plan(study, "")
    results = list(plan.results())
    assert [task.settings["seed"] for task in results] == sorted(task.settings["seed"] for task in results)
    assert ("few", 0) not in {(task.settings["variant"], task.settings["seed"]) for task in results}
    wanted = missing_tasks(plan.results(["raw", "permuted"], [3]), lambda task: False)
    stages = [task.stage for task in wanted]
    assert stages.count("synthetic") == 1
    assert stages.count("estimator") == 2  # the same in both protocols
    assert stages.count("result") == 4
    places = {task.digest: number for number, task in enumerate(wanted)}
    assert all(places[entry.digest] < places[task.digest] for task in wanted for entry in task.inputs.values())


def test_labels_of_photographs_reach_tests_and_the_ceiling_alone(study: Study) -> None:
    plan = Plan(study, "")
    for name in ("refined", "matched"):
        result = plan.result(name, 0, "inductive")
        for task in result.inputs["estimator"].ancestors().values():
            assert task.stage != "labelled"
            if "target" in task.inputs:
                assert task.stage == "real"
                assert task.settings["part"] == "first"
        assert result.settings["tests"] == {"estimator": "second"}


@pytest.mark.parametrize("seed", [2, 3])
def test_real_images_are_scored_against_those_of_other_groups(study: Study, seed: int) -> None:
    halves = halves_of(seed, "inductive")
    inputs = Plan(study, "").result("real", seed, "inductive").inputs
    parts = {role: task.settings["part"] for role, task in inputs["scores"].inputs.items()}
    assert parts == {"synthetic": halves.seen, "adapted": halves.seen, "real": halves.tested}
    assert "scores" not in Plan(study, "").result("real", seed, "transductive").inputs


def test_a_calibrated_renderer_knows_the_photographs_of_its_protocol_alone(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["renderers"]["calibrated"] = {"calibrate": True}
    values["variants"] = {"raw": {"renderer": "calibrated", "real_count": 5}}
    study = Study("tiny", tmp_path, StudyConfiguration.model_validate(values))
    ancestors = Plan(study, "").result("raw", 4, "inductive").inputs["synthetic"].ancestors().values()
    real = next(task for task in ancestors if task.stage == "real")
    assert real.settings == {"part": "first", "split": 2, "count": 5, "seed": 4, "group": "subject"}


def test_design_leaves_out_the_seed_and_nothing_else(study: Study, values: dict[str, Any], tmp_path: Path) -> None:
    plan = Plan(study, "")
    assert plan.design("raw", "inductive") != plan.design("raw", "transductive")
    assert (
        plan.result("raw", 3, "inductive").settings["design"] == plan.result("raw", 4, "inductive").settings["design"]
    )
    values["estimator"]["overrides"]["steps"] = 4
    changed = Plan(Study("tiny", tmp_path, StudyConfiguration.model_validate(values)), "")
    assert changed.design("raw", "inductive") != plan.design("raw", "inductive")


def test_arms_that_differ_in_steps_alone_are_one_training(values: dict[str, Any], tmp_path: Path) -> None:
    values["adaptations"] = {
        **values["adaptations"],
        "longer": {"overrides": {"steps": 4}},
        "other": {"overrides": {"steps": 4, "self_regularization_weight": 7}},
    }
    variants = {name: {"adaptation": name} for name in ("ours", "longer", "other", "histogram")}
    values["variants"] = {"raw": {}, **variants}
    plan = Plan(Study("tiny", tmp_path, StudyConfiguration.model_validate(values)), "target")
    assert plan.trajectory("ours") == plan.trajectory("longer") != plan.trajectory("other")
    assert [plan.steps(name) for name in values["variants"]] == [None, 2, 4, 4, None]
    assert plan.trajectory("raw") is plan.trajectory("histogram") is None


def test_seeds_in_pairs_swap_halves(study: Study) -> None:
    """What a seed sees, another one tests; the transductive protocol has no halves."""
    plan = Plan(study, "")
    for seed in range(6):
        result = plan.result("refined", seed, "inductive")
        real, tests = result.inputs["real"].settings, result.settings["tests"]
        assert (real["part"], tests["estimator"]) == (("second", "first") if seed % 2 else ("first", "second"))
        assert real.get("split", 0) == result.settings.get("split", 0) == seed // 2
        known = plan.result("real", seed, "inductive")
        assert known.inputs["estimator"].inputs["images"].settings.items() >= real.items()
        assert known.settings["tests"] == tests
        assert "split" not in plan.result("refined", seed, "transductive").inputs["real"].settings
    assert halves_of(3, "transductive") == ("all", "all", 0)


def test_halves_of_other_splits_are_drawn_and_complementary() -> None:
    groups = [f"{number % 9}" for number in range(40)]
    parts = [part_numbers(groups, split) for split in range(20)]
    for part in parts:
        assert sorted([*part["first"], *part["second"]]) == part["all"] == list(range(40))
        seen, tested = ({groups[number] for number in part[name]} for name in ("first", "second"))
        assert (len(seen), len(tested), seen & tested) == (5, 4, set())
    assert parts[3] == part_numbers(groups, 3)
    assert len({tuple(part["first"]) for part in parts}) > 15
    together = sum(
        ("0" in {groups[n] for n in part["first"]}) == ("1" in {groups[n] for n in part["first"]}) for part in parts
    )
    assert 3 <= together <= 14  # two groups of nine share a half in 44 % of the splits


def test_halves_take_every_other_group() -> None:
    assert part_numbers(["b", "a", "c", "b", "d"]) == {"all": [0, 1, 2, 3, 4], "first": [1, 2], "second": [0, 3, 4]}
    with pytest.raises(DataError, match="of one group"):
        part_numbers(["a", "a"])
