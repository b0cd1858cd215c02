"""Measure speed and error of the demo refiner in int8.

    python -m tools.measure.quantization results/performance/int8-NAME.json

ONNX Runtime's quantizer makes a static quantization after training, per channel, with scales from renders. OpenVINO
runs it, interleaved with its own fp32 and bf16. ``python -m tools.pages.performance`` makes the table.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from refiner.benchmark.benchmark import compare
from refiner.core.devices import computes_bf16, default_threads
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.arrays import to_planes
from refiner.inference.backends.base import Array
from refiner.inference.backends.export import to_onnx
from refiner.inference.backends.openvino_backend import run_requests
from refiner.inference.backends.registry import open_backend
from refiner.models.files.lookup import pretrained_refiners
from refiner.models.files.refiner_file import RefinerFile, load_refiner

SIZE, BATCH, BATCHES = (36, 60), 64, 8

FLOAT: dict[str, list[str]] = {
    "int8": [],
    "int8, first and last layers in floats": ["/network/stem/Conv", "/network/unfold/Conv", "/network/head/Conv"],
}
"""Quantized networks, and the convolutions that each keeps in floating point."""

Run = Callable[[Array], Array]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--repeats", type=click.IntRange(1), default=5, help="Repeats of each measurement, interleaved.")
@click.option("--seconds", type=click.FloatRange(0), default=1.0, help="Minimum seconds of a measurement.")
def main(out: Path, repeats: int, seconds: float) -> None:
    """Measure, and write OUT as JSON."""
    refiner = load_refiner(pretrained_refiners()["demo"])
    synthetic = rendered_records(EyeParameters(), 2 * BATCH * BATCHES, seed=9, size=SIZE)
    batches = np.split(np.stack([to_planes(render.image, 1) for render in synthetic]), 2 * BATCHES)
    known, unseen = batches[:BATCHES], batches[BATCHES:]  # scales come from the first half
    names = ["openvino", *(["openvino-bf16"] if computes_bf16("cpu") else [])]
    runs: dict[str, Run] = {name: open_backend(name, refiner, device="cpu").run for name in names}
    runs |= {name: quantized(refiner, known, kept) for name, kept in FLOAT.items()}
    work = {name: partial(_refine, run, np.concatenate(unseen)) for name, run in runs.items()}
    rates = compare(work, repeats, seconds, lambda name: print(name, file=sys.stderr))
    exact = levels(runs["openvino"], unseen)
    plain = statistics.median(rates["openvino"])
    found = {
        name: {
            "rate": statistics.median(rates[name]),
            "low": min(rates[name]),
            "high": max(rates[name]),
            "ratio": statistics.median(rates[name]) / plain,
            **_apart(np.abs(levels(run, unseen) - exact)),
        }
        for name, run in runs.items()
    }
    write_text(out, json.dumps({"command": "int8", "environment": environment(), "runs": found}, indent=1) + "\n")
    print(out)


def quantized(refiner: RefinerFile, known: Sequence[Array], kept: Sequence[str]) -> Run:
    """Return a function that runs the network in int8, except some convolutions, with OpenVINO."""
    from refiner.inference.backends.openvino_module import openvino

    with tempfile.TemporaryDirectory() as folder:
        model, smaller = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        model.write_bytes(to_onnx(refiner.network()))
        # The quantizer would pass over a name that the graph lacks.
        if missing := set(kept) - {node.name for node in onnx.load(model).graph.node}:
            raise ValueError(f"the exported graph has no nodes {sorted(missing)}")
        quantize_static(
            model,
            smaller,
            _Known(known),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Add"],
            nodes_to_exclude=list(kept),
        )
        options = {"INFERENCE_NUM_THREADS": default_threads(), "PERFORMANCE_HINT": "THROUGHPUT"}
        compiled = openvino.Core().compile_model(smaller, "CPU", {**options, "ENABLE_CPU_PINNING": False})
    return run_requests(compiled)[0]


class _Known(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Sequence[Array]) -> None:
        self.batches: Iterator[Array] = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def _refine(run: Run, images: Array) -> int:
    return len(run(images))


def levels(run: Run, batches: Sequence[Array]) -> np.ndarray[Any, Any]:
    """Return the grey levels of the outputs."""
    return np.rint((np.concatenate([run(batch) for batch in batches]) + 1) * 127.5)


def _apart(differences: np.ndarray[Any, Any]) -> dict[str, float]:
    """Summarize differences from fp32 in grey levels, over all pixels."""
    return {
        "mean": float(differences.mean()),
        "largest": float(differences.max()),
        "beyond_one": float((differences > 1).mean()),
    }


if __name__ == "__main__":
    main()
