"""``refiner benchmark``: measure how fast this machine refines and trains."""

from dataclasses import asdict

import click

from refiner.commands.shared.options import Size, device_option, json_option
from refiner.commands.shared.reporting import print_json, progress

SHOWN = 6
"""Number of operations of each profile that are printed."""


@click.command()
@click.option(
    "--size", type=Size(), default="36x60", show_default=True, help="Height and width of the images in pixels."
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=20_000,
    show_default=True,
    help="Number of images in the folder and the store of the whole jobs.",
)
@click.option(
    "--repeats", type=click.IntRange(1), default=5, show_default=True, help="Number of repeats of each measurement."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Shortest time of a measurement of a network or of training.",
)
@click.option("--profile", is_flag=True, help="Show which PyTorch operations take the time, instead.")
@device_option
@json_option
def command(
    size: tuple[int, int], images: int, repeats: int, seconds: float, profile: bool, device: str, as_json: bool
) -> None:
    """Measure the backends, whole jobs, the start of a command, and a training step.

    Rates are medians over the repeats, with the lowest and highest in brackets. Each rate also has its ratio to a
    reference; for networks that is the paper's network in plain fp32, as public implementations run it. Compare only
    ratios from one run. The command takes a quarter of an hour on two cores.

    \b
    Examples:
      refiner benchmark
      refiner benchmark --device cuda --json > speed.json
      refiner benchmark --profile
    """
    from refiner.benchmark.benchmark import benchmark
    from refiner.core.devices import keep_freed_memory
    from refiner.core.environment import environment

    keep_freed_memory()  # as refining and training do
    if profile:
        _profile(size, device, as_json)
        return
    # Measure, and print JSON if it was asked for.
    with progress("measuring") as advance:
        found = benchmark(device=device, size=size, images=images, repeats=repeats, seconds=seconds, report=advance)
    if as_json:
        print_json("benchmark", **asdict(found))
        return
    # The machine first, then a line for each measurement.
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
    click.echo(f"peak memory of a whole job: {found.job_mib:,.0f} MiB")
    if found.card_mib is not None:
        click.echo(f"peak GPU memory: {found.card_mib:,.0f} MiB")


def _profile(size: tuple[int, int], device: str, as_json: bool) -> None:
    """Print the PyTorch operations of the networks, and of a training step."""
    from refiner.benchmark.baseline import plain_workload
    from refiner.benchmark.profiling import profile_workloads
    from refiner.benchmark.workloads import benchmark_networks, network_workloads, training_workloads
    from refiner.core.devices import resolve_device

    device = resolve_device(device)
    # Only operations of PyTorch can be profiled, so other backends are left out.
    networks = network_workloads(device, size, benchmark_networks(), plain=plain_workload)[0]
    networks = {name: run for name, run in networks.items() if "torch" in name or "fp32" in name}
    found = profile_workloads({**networks, **training_workloads(device, size)}, device=device)
    # Print each workload with its slowest operations.
    if as_json:
        print_json("benchmark", profile={name: [o._asdict() for o in operations] for name, operations in found.items()})
        return
    for name, operations in found.items():
        click.echo(name)
        for operation in operations[:SHOWN]:
            click.echo(f"  {operation.share:6.1%} {operation.milliseconds:9.1f} ms  {operation.name}")
