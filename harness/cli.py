"""The commands: `python -m harness …`, and a tox env each."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness import local
from harness.clientconfig import CLIENTS, client_configuration
from harness.console import err, fail, out, progress, warn
from harness.deployment import DEFAULT_NAME, Deployment, current
from harness.engine import engine
from harness.errors import HarnessError
from harness.hot.environment import read_environment
from harness.options import LocalOptions
from harness.status import Status, status_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deploy a Docker registry and pull-through cache, look at it, use it, remove it.",
)


class Target(StrEnum):
    """Where to deploy."""

    local = "local"
    lab = "lab"
    cloud = "cloud"


Name = Annotated[str, typer.Option("--name", help="Name of the deployment, as a stack's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command()
def deploy(
    environment: Annotated[
        list[Path] | None,
        typer.Option("-e", "--environment", metavar="ENVIRONMENT", help="Environment file; the last one wins."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-P", "--parameter", metavar="NAME=VALUE", help="Parameter of heat/registry.yaml."),
    ] = None,
    target: Annotated[
        Target | None,
        typer.Option(help="local: a container on this machine. cloud: OpenStack, as named by OS_CLOUD."),
    ] = None,
    os_cloud: Annotated[
        str | None, typer.Option("--os-cloud", envvar="OS_CLOUD", help="Cloud of clouds.yaml: means --target cloud.")
    ] = None,
    name: Name = DEFAULT_NAME,
    address: Annotated[str, typer.Option(help="Local target: address to listen on.")] = "127.0.0.1",
    mirror_port: Annotated[int, typer.Option(help="Local target: port of the mirror, 0 for any free one.")] = 443,
    registry_port: Annotated[int, typer.Option(help="Local target: port of the registry, 0 for any.")] = 5000,
    swift: Annotated[
        bool, typer.Option("--swift", help="Local target: keep images in a real Swift beside it.")
    ] = False,
    keep_on_failure: Annotated[bool, typer.Option(help="Leave a host that does not work, to look into it.")] = False,
    as_json: Json = False,
) -> None:
    """Deploy the registry and the mirror, or bring what is there up to date.

    Without a target it runs here, in a container: nothing but a Docker engine is needed, and as root on Debian or
    Ubuntu not even that. Run again with the same parameters it changes nothing; with others, it applies them.
    The cache and the pushed images stay.
    """
    _local_only(target, os_cloud)
    options = LocalOptions(
        name=name,
        address=address,
        mirror_port=mirror_port or None,
        registry_port=registry_port or None,
        swift=swift,
        keep_on_failure=keep_on_failure,
    )
    with progress("deploying") as report:
        deployment = local.deploy(options, read_environment(environment or [], parameter or []), report)
    if deployment.warning:
        warn(deployment.warning)
    if as_json:
        out.print(deployment.as_json(), markup=False)
    else:
        _print_deployment(deployment)


@app.command()
def status(name: Name = DEFAULT_NAME, as_json: Json = False) -> None:
    """Show where the registry and the mirror are, and how their services do.

    Exits with 1 when nothing is deployed or a service is down.
    """
    found = status_of(current(name))
    if as_json:
        out.print(found.as_json(), markup=False)
    else:
        _print_deployment(found.deployment)
        _print_services(found)
    if not found.healthy:
        raise typer.Exit(1)


@app.command()
def destroy(
    name: Name = DEFAULT_NAME,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep the cache, the pushed images, the login and the certificates.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a local deployment, after saying what goes and asking."""
    parts = local.parts(engine(), name)
    if not parts:
        out.print(f'nothing is deployed under the name "{name}"', markup=False)
        return
    going = [part for part in parts if not (keep_data and part.startswith("volume "))]
    out.print("This deletes:", *(f"  {part}" for part in going), sep="\n", markup=False)
    if not keep_data:
        out.print("and with it the cache, the pushed images, the login and the CA (--keep-data keeps them).")
    if not yes and not sys.stdin.isatty():
        raise HarnessError("nobody is there to be asked: add --yes to delete this")
    if not yes and not typer.confirm("Go on?"):
        raise typer.Exit(1)
    for part in local.destroy(name, keep_data):
        err.print(f"deleted {part}", markup=False)


@app.command("client-config")
def client_config(
    client: Annotated[str, typer.Argument(help=f"One of {', '.join(CLIENTS)}.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Print what a client needs to use the mirror and to push: files, and where they go."""
    if client not in CLIENTS:
        raise HarnessError(f'no configuration is known for "{client}": choose one of {", ".join(CLIENTS)}')
    out.print(client_configuration(client, current(name)), markup=False, end="")


@app.command()
def demo(
    rate: Annotated[float, typer.Option(help="Rate of the link to the upstream, in Mbit/s.")] = 50.0,
    as_json: Json = False,
) -> None:
    """Walk through it on real Docker hosts, and print a table of times.

    Two fresh Docker hosts pull the same image of a few hundred MB through the mirror, the first over a limited link
    to the upstream; then one pushes it to the registry and the other pulls that. Everything is removed afterwards.
    """
    from harness.demo import run_demo

    with progress("demo") as report:
        result = run_demo(rate, report)
    if as_json:
        out.print(result.as_json(), markup=False)
    else:
        out.print(result.table())


def main() -> None:
    """Run a command; a HarnessError is one line and exit code 1, Ctrl-C exit code 130."""
    try:
        app(standalone_mode=True)
    except HarnessError as error:
        fail(str(error))
        for note in getattr(error, "__notes__", []):
            err.print(note, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        fail("interrupted")
        sys.exit(130)


def _local_only(target: Target | None, os_cloud: str | None) -> None:
    chosen = target or (Target.cloud if os_cloud or os.environ.get("OS_AUTH_URL") else Target.local)
    if chosen is not Target.local:
        raise HarnessError(
            f"the target {chosen} is not built yet: create the stack by hand with "
            "`openstack stack create -e env.yaml -t heat/registry.yaml docker_registry`, or use --target local"
        )


def _print_deployment(deployment: Deployment) -> None:
    registry = deployment.registry_url.removeprefix("https://")
    mirror = deployment.mirror_url.removeprefix("https://")
    lines = (
        f"mirror     {deployment.mirror_url}",
        f"registry   {deployment.registry_url}",
        f"login      {deployment.registry_username}, password in {deployment.password_file}",
        f"CA         {deployment.ca_file}",
        "",
        "To use it from Docker on this machine, as root:",
        f"  install -D {deployment.ca_file} /etc/docker/certs.d/{mirror}/ca.crt",
        f"  install -D {deployment.ca_file} /etc/docker/certs.d/{registry}/ca.crt",
        f'  echo \'{{"registry-mirrors": ["{deployment.mirror_url}"]}}\' > /etc/docker/daemon.json  # restart docker',
        f"  docker login -u {deployment.registry_username} --password-stdin {registry} < {deployment.password_file}",
        "Other clients: tox -e client-config -- containerd|podman|buildkit|k3s",
    )
    out.print(*lines, sep="\n", markup=False)


def _print_services(found: Status) -> None:
    table = Table("service", "state", "memory")
    for service in found.services:
        table.add_row(service.unit, service.state, f"{service.memory_mib:.1f} MiB")
    table.add_row("together", "", f"{found.memory_mib:.1f} MiB")
    out.print(table)
