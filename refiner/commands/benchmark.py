"""``refiner benchmark``: how fast this machine refines and trains."""

from dataclasses import asdict

import click

from refiner.commands.options import Size, device_option, json_option
from refiner.commands.reporting import print_json, progress

SHOWN = 6
"""Operations of a profile that are printed."""


@click.command()
@click.option("--size", type=Size(), default="36x60", show_default=True, help="Height and width of the images.")
@click.option(
    "--images", type=click.IntRange(1), default=20_000, show_default=True, help="In the folder and the store."
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Of each measurement, in turns.")
@click.option(
    "--seconds", type=click.FloatRange(0), default=1.0, show_default=True, help="Least time of a measurement."
)
@click.option("--profile", is_flag=True, help="Tell instead which operations the time goes into.")
@device_option
@json_option
def command(
    size: tuple[int, int], images: int, repeats: int, seconds: float, profile: bool, device: str, as_json: bool
) -> None:
    """Measure every backend, whole jobs, the start of a command, and a step of training.

    Figures are medians over the repeats, lowest and highest in brackets, and ratios to what public implementations do:
    the paper's network in plain fp32. Only ratios of one run can be compared. Takes a quarter of an hour on two cores.

    \b
    Example:
      refiner benchmark
      refiner benchmark --device cuda --json > speed.json
      refiner benchmark --profile
    """
    from refiner.benchmark.benchmark import benchmark
    from refiner.core.environment import environment

    if profile:
        _profile(size, device, as_json)
        return
    with progress("measuring") as advance:
        found = benchmark(device=device, size=size, images=images, repeats=repeats, seconds=seconds, report=advance)
    if as_json:
        print_json("benchmark", **asdict(found))
        return
    facts = environment()
    name = facts["devices"][0] if found.device == "cuda" else facts["processor"]["name"]
    features = "" if found.device == "cuda" else f", {' '.join(facts['processor']['features'])}"
    click.echo(f"{name}{features}, {facts['threads']} threads, images of {size[0]}x{size[1]}")
    width = max(len(rate.name) for rate in found.rates)
    for rate in found.rates:
        spread = f"[{rate.low:,.1f}, {rate.high:,.1f}]"
        click.echo(f"{rate.name:<{width}}  {rate.median:>11,.1f}/s {spread:<24} {rate.ratio:7.2f} of {rate.against}")
    for backend, reason in found.absent.items():
        click.echo(f"{backend} was not measured: {reason}")
    click.echo(f"largest memory with a whole job running {found.job_mib:,.0f} MiB")
    if found.card_mib is not None:
        click.echo(f"largest memory on the card {found.card_mib:,.0f} MiB")


def _profile(size: tuple[int, int], device: str, as_json: bool) -> None:
    """Operations of the networks by PyTorch, and of a step of training."""
    from refiner.benchmark.baseline import plain_work
    from refiner.benchmark.profiling import profile_work
    from refiner.benchmark.workloads import network_work, own_networks, training_work
    from refiner.core.devices import resolve_device

    device = resolve_device(device)
    networks = network_work(device, size, own_networks(), plain=plain_work)[0]
    networks = {name: work for name, work in networks.items() if "torch" in name or "fp32" in name}
    found = profile_work({**networks, **training_work(device, size)}, device=device)
    if as_json:
        print_json("benchmark", profile={name: [o._asdict() for o in operations] for name, operations in found.items()})
        return
    for name, operations in found.items():
        click.echo(name)
        for operation in operations[:SHOWN]:
            click.echo(f"  {operation.share:6.1%} {operation.milliseconds:9.1f} ms  {operation.name}")
