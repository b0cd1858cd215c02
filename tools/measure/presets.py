"""Measure the speed of the refiners of configs/study/presets.yaml.

    python -m tools.measure.presets results/performance/presets-NAME.json

Speeds are ratios to the paper's network in plain fp32, measured in the same run. ``python -m tools.pages.performance``
adds the quality that the study found.
"""

import json
import statistics
import sys
from pathlib import Path

import click
import yaml

from refiner.benchmark.benchmark import compare
from refiner.benchmark.workloads import PLAIN, network_workloads
from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.devices import keep_freed_memory
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.models.files.refiner_file import RefinerFile
from refiner.models.refiner import RefinerNetwork
from refiner.training.methods.build import refiner_architecture

CONFIGS = Path(__file__).parents[2] / "configs"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--repeats", type=click.IntRange(1), default=5, help="Repeats of each measurement, interleaved.")
@click.option("--seconds", type=click.FloatRange(0), default=1.0, help="Minimum seconds of a measurement.")
def main(out: Path, repeats: int, seconds: float) -> None:
    """Measure, and write OUT as JSON."""
    networks = {name: RefinerFile.of(network) for name, network in preset_networks().items()}
    keep_freed_memory()  # as the command does
    work, absent = network_workloads("cpu", (36, 60), {f"{name}, ": network for name, network in networks.items()})
    found = compare(work, repeats, seconds, lambda name: print(name, file=sys.stderr))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    presets = {}
    for name, network in networks.items():
        rates = {backend: value for backend, value in medians.items() if backend.startswith(f"{name}, ")}
        best = max(rates, key=rates.__getitem__)
        presets[name] = {
            "parameters": sum(values.size for values in network.weights.values()),
            "backend": best.removeprefix(f"{name}, "),
            "rate": medians[best],
            "low": min(found[best]),
            "high": max(found[best]),
            "ratio": medians[best] / medians[PLAIN],
        }
    facts = {"command": "presets", "environment": environment(), "plain": medians[PLAIN], "absent": absent}
    write_text(out, json.dumps({**facts, "presets": presets}, indent=1) + "\n")
    print(out)


def preset_networks() -> dict[str, RefinerNetwork]:
    """Return the networks of the study's adaptations, by name."""
    study = yaml.safe_load((CONFIGS / "study" / "presets.yaml").read_text(encoding="utf-8"))
    base = read_configuration(CONFIGS / "eyes.yaml", TrainingConfiguration)
    networks = {}
    for name, adaptation in study["adaptations"].items():
        section = {**base.refiner.model_dump(), **adaptation["overrides"]["refiner"]}
        configuration = TrainingConfiguration.model_validate({**base.model_dump(), "refiner": section})
        networks[name] = RefinerNetwork(refiner_architecture(configuration)).eval()
    return networks


if __name__ == "__main__":
    main()
