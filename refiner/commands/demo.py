"""``refiner demo``: the whole pipeline on rendered eyes, hands or scenes of objects."""

import time
from pathlib import Path
from typing import Any

import click

from refiner.commands.shared.options import ANY_PATH, device_option, json_option, seed_option
from refiner.commands.shared.reporting import print_json, progress


@click.command()
@click.argument("out", type=ANY_PATH, metavar="[OUT]", required=False)
@click.option("--long", is_flag=True, help="Use more images and steps: half an hour, for a better result. Eyes only.")
@click.option("--hands", is_flag=True, help="Refine depth images of hands, with joints, instead of eyes, with gaze.")
@click.option("--objects", is_flag=True, help="Refine colour images of many objects, with COCO annotations, instead.")
@seed_option
@device_option
@json_option
def command(out: Path | None, long: bool, hands: bool, objects: bool, seed: int, device: str, as_json: bool) -> None:
    """Run the whole pipeline: render eyes, train a refiner, refine the renders, and measure the benefit.

    Nothing is downloaded. The "real" images come from a simulated target camera, which shows other people than the
    renders, softer and noisier. With --hands they come from a simulated depth sensor, with --objects from a simulated
    colour camera. Everything is written to OUT (default: demo, demo-hands or demo-objects). Run the same command again
    to resume an interrupted demo.

    \b
    Examples:
      refiner demo
      refiner demo --hands
      refiner demo --objects
    """
    # Refuse wrong options before the slow imports.
    if hands and objects:
        raise click.UsageError("--hands and --objects are different demos; leave out one of them")
    if long and (hands or objects):
        other = "--hands" if hands else "--objects"
        raise click.UsageError(f"--long applies only to the demo on eyes; leave out --long or {other}")
    from refiner.core.devices import keep_freed_memory

    keep_freed_memory()
    default = "demo-hands" if hands else "demo-objects" if objects else "demo"
    out, start = out or Path(default), time.monotonic()
    # Run the demo that was chosen.
    with progress("demo") as advance:

        def report(stage: str, done: int, total: int) -> None:
            advance(done, total, stage)

        options: dict[str, Any] = {"seed": seed, "device": device, "report": report}
        if hands:
            scale, outcome, rows = _run_hands(out, **options)
        elif objects:
            scale, outcome, rows = _run_objects(out, **options)
        else:
            scale, outcome, rows = _run_eyes(out, long=long, **options)
    if as_json:
        print_json("demo", seed=seed, scale=scale, outcome=outcome)
        return

    # Print the table and the conclusion.
    width = max(40, *(len(name) for name, _ in rows))
    for name, value in rows:
        click.echo(f"{name:<{width}} {value}")
    gain = outcome["gain"]
    verdict = "helps" if gain.low > 0 else "does not help" if gain.high < 0 else "makes no significant difference"
    click.echo(f"\nRefining {verdict} here; see {out / 'before_after.png'} ({time.monotonic() - start:.0f} s)")


def _run_eyes(out: Path, *, long: bool, **options: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Run the demo on eyes; return its scale, its metrics and the rows of the table."""
    from dataclasses import asdict

    from refiner.demos.eyes import LONG, SEEDS, SHORT, run_demo, table

    scale, outcome = LONG if long else SHORT, run_demo(out, long=long, **options)
    note = (
        f"{scale.test_images} images of the simulated target camera, of people unseen in training; "
        f"{len(SEEDS)} estimator seeds, 95 % intervals"
    )
    return asdict(scale), asdict(outcome), table(outcome, note)


def _run_hands(out: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Run the demo on hands; return its scale, its metrics and the rows of the table."""
    from dataclasses import asdict

    from refiner.demos.hands import SEEDS, HandScale, hand_table, run_hand_demo

    scale, outcome = HandScale(), run_hand_demo(out, **options)
    note = (
        f"{scale.test_images} images of the simulated target sensor, of hands unseen in training; "
        f"{len(SEEDS)} estimator seeds, 95 % intervals"
    )
    return asdict(scale), asdict(outcome), hand_table(outcome, note)


def _run_objects(out: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Run the demo on objects; return its scale, its metrics and the rows of the table."""
    from dataclasses import asdict

    from refiner.demos.objects import SCALE, object_table, run_object_demo

    scale, outcome = SCALE, run_object_demo(out, **options)
    note = f"{scale.test_images} images of the simulated target camera, of scenes unseen in training; 95 % intervals"
    rows = [*object_table(outcome, note), ("report", str(out / "report.html"))]
    return asdict(scale), asdict(outcome), rows
