"""``refiner demo``: everything at once on rendered eyes, or hands."""

import time
from pathlib import Path
from typing import Any

import click

from refiner.commands.options import ANY_PATH, device_option, json_option, seed_option
from refiner.commands.reporting import print_json, progress


@click.command()
@click.argument("out", type=ANY_PATH, metavar="[OUT]", required=False)
@click.option("--long", is_flag=True, help="Take far longer, for a better result; of eyes.")
@click.option("--hands", is_flag=True, help="Depth images of hands and their joints, instead of eyes and their gaze.")
@seed_option
@device_option
@json_option
def command(out: Path | None, long: bool, hands: bool, seed: int, device: str, as_json: bool) -> None:
    """Show everything at once: render eyes, train a refiner, refine them, and measure what it brought.

    No download: the photographs come from a stand-in camera, which shows other eyes than the renders, softer and
    noisier; with --hands from a stand-in depth sensor. Everything is written to OUT (demo, or demo-hands); the same
    command again goes on where it was stopped.

    \b
    Example:
      refiner demo
      refiner demo --hands
    """
    if hands and long:
        raise click.UsageError("--long is of the demo on eyes; leave it out, or --hands")
    out, start = out or Path("demo-hands" if hands else "demo"), time.monotonic()
    with progress("demo") as advance:

        def report(stage: str, done: int, total: int) -> None:
            advance(done, total, stage)

        run = _run_hands if hands else _run_eyes
        scale, outcome, rows = run(out, long=long, seed=seed, device=device, report=report)
    if as_json:
        print_json("demo", seed=seed, scale=scale, outcome=outcome)
        return
    width = max(40, *(len(what) for what, _ in rows))
    for what, metric in rows:
        click.echo(f"{what:<{width}} {metric}")
    gain = outcome["gain"]
    verdict = "helps" if gain.low > 0 else "does not help" if gain.high < 0 else "is not resolved"
    click.echo(f"\nrefining {verdict} here; see {out / 'before_after.png'} ({time.monotonic() - start:.0f} s)")


def _run_eyes(out: Path, *, long: bool, **options: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The scale, what came out, and the rows of the table."""
    from dataclasses import asdict

    from refiner.demos.eyes import LONG, SEEDS, SHORT, run_demo, table

    scale, outcome = LONG if long else SHORT, run_demo(out, long=long, **options)
    note = (
        f"{scale.test_images} photographs of the stand-in camera, people not seen; "
        f"{len(SEEDS)} estimator seeds, 95 % intervals"
    )
    return asdict(scale), asdict(outcome), table(outcome, note)


def _run_hands(out: Path, *, long: bool, **options: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The same for hands."""
    from dataclasses import asdict

    from refiner.demos.hands import SEEDS, HandScale, hand_table, run_hand_demo

    scale, outcome = HandScale(), run_hand_demo(out, **options)
    note = (
        f"{scale.test_images} images of the stand-in sensor, hands not seen; "
        f"{len(SEEDS)} estimator seeds, 95 % intervals"
    )
    return asdict(scale), asdict(outcome), hand_table(outcome, note)
