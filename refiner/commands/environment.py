"""``refiner environment``: print versions, processor and devices for bug reports."""

import click

from refiner.commands.shared.options import json_option
from refiner.commands.shared.reporting import print_json
from refiner.core.devices import computes_bf16
from refiner.core.environment import environment


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Print versions, processor and devices for bug reports.

    \b
    Example:
      refiner environment
    """
    facts = environment()
    if as_json:
        print_json("environment", facts=facts)
        return
    processor = facts["processor"]
    features = " ".join(processor["features"]) or "no AVX2, AVX-512, AMX or bf16"
    click.echo(f"platform    {facts['platform']}")
    click.echo(f"processor   {processor['name']}, {processor['cores']} cores, {features}")
    click.echo(f"bf16        {'native' if computes_bf16('cpu') else 'emulated on the CPU, so fp32 is used'}")
    click.echo(f"devices     {', '.join(facts['devices']) or 'no CUDA device'}")
    click.echo(f"threads     {facts['threads']}")
    for package, version in facts["versions"].items():
        click.echo(f"{package:<20}{version or 'not installed'}")
