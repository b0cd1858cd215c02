"""``refiner environment``: versions, processor and devices, for bug reports."""

import click

from refiner.commands.options import json_option
from refiner.commands.reporting import print_json
from refiner.core.devices import computes_bf16
from refiner.core.environment import environment


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Print versions, processor and devices, for bug reports.

    \b
    Example:
      refiner environment
    """
    facts = environment()
    if as_json:
        print_json("environment")
        return
    processor = facts["processor"]
    features = " ".join(processor["features"]) or "none of those that matter here"
    click.echo(f"platform    {facts['platform']}")
    click.echo(f"processor   {processor['name']}, {processor['cores']} cores, {features}")
    click.echo(f"bf16        {'native' if computes_bf16('cpu') else 'emulated, so fp32 is used'} on the processor")
    click.echo(f"devices     {', '.join(facts['devices']) or 'no CUDA device'}")
    click.echo(f"threads     {facts['threads']}")
    for package, version in facts["versions"].items():
        click.echo(f"{package:<20}{version or 'not installed'}")
