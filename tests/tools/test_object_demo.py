"""The guide's table on the demo is that of the results, and its last row is right."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tools.measure.object_demo import table

ROOT = Path(__file__).parents[2]


def test_the_guide_shows_the_results() -> None:
    found = json.loads((ROOT / "results" / "object_demo.json").read_text(encoding="utf-8"))["seeds"]
    assert f"<!-- table: object_demo -->\n{table(found)}\n<!-- end -->" in (ROOT / "docs" / "guide.md").read_text(
        encoding="utf-8"
    )
    gains = [outcome["refined"][0] - outcome["raw"][0] for outcome in found.values()]
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    numbers = [float(number) for number in re.findall(r"[\d.]+", table(found).splitlines()[-1].split("|")[4])]
    assert numbers == pytest.approx([np.mean(gains), np.mean(gains) - half, np.mean(gains) + half], abs=0.006)
