"""``refiner demo``: everything at once on rendered eyes."""

import time
from pathlib import Path

import click

from refiner.commands.options import ANY_PATH, device_option, json_option, seed_option
from refiner.commands.reporting import print_json, progress


@click.command()
@click.argument("out", type=ANY_PATH, metavar="[OUT]", default=Path("demo"))
@click.option("--long", is_flag=True, help="Take far longer, for a better result.")
@seed_option
@device_option
@json_option
def command(out: Path, long: bool, seed: int, device: str, as_json: bool) -> None:
    """Show everything at once: render eyes, train a refiner, refine them, and measure what it brought.

    No download: the photographs come from a stand-in camera, which shows other eyes than the renders, softer and
    noisier. Everything is written to OUT; the same command again goes on where it was stopped.

    \b
    Example:
      refiner demo
    """
    from dataclasses import asdict

    from refiner.demonstration import LONG, SEEDS, SHORT, run_demo, table

    start, scale = time.monotonic(), LONG if long else SHORT
    with progress("demo") as advance:

        def report(stage: str, done: int, total: int) -> None:
            advance(done, total, stage)

        outcome = run_demo(out, long=long, seed=seed, device=device, report=report)
    if as_json:
        print_json("demo", seed=seed, scale=asdict(scale), outcome=asdict(outcome))
        return
    note = (
        f"{scale.test_photographs} photographs of the stand-in camera, people not seen; "
        f"{len(SEEDS)} estimator seeds, 95 % intervals"
    )
    for what, figure in table(outcome, note):
        click.echo(f"{what:<40} {figure}")
    verdict = "helps" if outcome.gain.low > 0 else "does not help" if outcome.gain.high < 0 else "is not resolved"
    click.echo(f"\nrefining {verdict} here; see {out / 'before_after.png'} ({time.monotonic() - start:.0f} s)")
