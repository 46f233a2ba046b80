"""The commands: `registry-stack …`, in a checkout `tox -e …`."""

import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from registry_stack.client_config import CLIENTS, client_configuration
from registry_stack.commands.lab import app as lab_app
from registry_stack.commands.status import Status, status_of
from registry_stack.console import err, out, progress, report_errors, warn
from registry_stack.deployment import DEFAULT_NAME, Deployment, State, current
from registry_stack.docker.engine import engine
from registry_stack.errors import RegistryStackError
from registry_stack.images.archive import cache_path
from registry_stack.images.cleanup import list_project_images, remove_project_images
from registry_stack.lab import settings as lab_settings
from registry_stack.product import command_line
from registry_stack.targets.choice import Target, chosen_target, cloud_options, refuse_other_target
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import MOST_HOSTS, LocalOptions
from registry_stack.template.environment import read_environment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deploy a Docker registry and pull-through cache, on OpenStack or in a container here.",
)
app.add_typer(lab_app, name="lab")


def _usable(name: str) -> str:
    """A name that Heat, Docker and the state folder all accept."""
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.-]*", name):
        raise typer.BadParameter(f'"{name}" is not valid: use a letter, then letters, digits, "_", "." or "-"')
    if name == lab_settings.state().name:
        raise typer.BadParameter(f'"{name}" is reserved for the lab itself')
    return name


Name = Annotated[str, typer.Option("--name", callback=_usable, help="Name of the deployment, and of its stack.")]
Environments = Annotated[
    list[Path] | None,
    typer.Option(
        "-e",
        "--environment",
        metavar="ENVIRONMENT",
        help="Environment file of Heat; the last one wins. The lab has its own.",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("-P", "--parameter", metavar="NAME=VALUE", help="Parameter of the template, see docs/parameters.md."),
]
Where = Annotated[
    Target | None,
    typer.Option(
        "--target",
        help="local: a container here; lab: the OpenStack of the command lab; cloud: the OpenStack in OS_CLOUD.",
    ),
]
Cloud = Annotated[
    str | None, typer.Option("--os-cloud", envvar="OS_CLOUD", help="Cloud of clouds.yaml; implies --target cloud.")
]
Hosts = Annotated[
    int | None, typer.Option(help="1 to 8 hosts that work as one; unless given, as many as there are, else 1.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command()
def deploy(
    environment: Environments = None,
    parameter: Parameters = None,
    target: Where = None,
    os_cloud: Cloud = None,
    name: Name = DEFAULT_NAME,
    address: Annotated[str, typer.Option(help="Local target: address to listen on.")] = "127.0.0.1",
    mirror_port: Annotated[int, typer.Option(help="Local target: port of the mirror, 0 for any free one.")] = 443,
    registry_port: Annotated[int, typer.Option(help="Local target: port of the registry, 0 for any.")] = 5000,
    hosts: Hosts = None,
    swift: Annotated[
        bool, typer.Option("--swift", help="Local target: keep the pushed images in a Swift that runs beside it.")
    ] = False,
    keep_on_failure: Annotated[
        bool, typer.Option("--keep-on-failure", help="Keep a deployment that failed, to inspect it.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Deploy the registry and the mirror, or update the deployment; with --hosts, a group that works as one.

    By default it runs in a container here, which needs a Docker engine, or root on Debian or Ubuntu to install one.
    On a cloud it runs preflight checks, then Heat creates the stack. Running it again changes nothing; with different
    parameters it updates the deployment. Pushed images are kept.
    """
    chosen = chosen_target(target, os_cloud, name)
    refuse_other_target(name, chosen)
    wanted = _hosts(name, hosts)
    if chosen is Target.local:
        local_options = LocalOptions(
            name=name,
            address=address,
            mirror_port=mirror_port or None,
            registry_port=registry_port or None,
            swift=swift,
            keep_on_failure=keep_on_failure,
            hosts=wanted,
        )
        with progress("deploying") as report:
            deployment = local.deploy(local_options, read_environment(environment or [], parameter or []), report)
    else:
        from registry_stack.targets.cloud import target as cloud

        options = cloud_options(
            chosen,
            os_cloud,
            name,
            environments=environment or [],
            parameters=parameter or [],
            keep_on_failure=keep_on_failure,
            ask=partial(_agree, yes),
            hosts=wanted,
        )
        with progress("deploying", spinner=False) as report:
            deployment = cloud.deploy(options, report)
    if deployment.warning:
        warn(deployment.warning)
    if as_json:
        out.print(deployment.as_json(), markup=False)
    else:
        _print_deployment(deployment)


@app.command()
def status(name: Name = DEFAULT_NAME, as_json: Json = False) -> None:
    """Show endpoints, service health and memory use.

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
def doctor(
    environment: Environments = None,
    parameter: Parameters = None,
    target: Where = None,
    os_cloud: Cloud = None,
    name: Name = DEFAULT_NAME,
    hosts: Hosts = None,
) -> None:
    """Run the preflight checks of a cloud: names, sizes, quotas, and the credentials of the object store."""
    from registry_stack.targets.cloud import target as cloud
    from registry_stack.targets.cloud.preflight import raise_on_failure

    chosen = chosen_target(target or (None if os_cloud else Target.cloud), os_cloud, name)
    if chosen is Target.local:
        raise RegistryStackError(
            "the local target has no preflight checks: name a cloud with --os-cloud, or use --target lab"
        )
    options = cloud_options(
        chosen,
        os_cloud,
        name,
        environments=environment or [],
        parameters=parameter or [],
        hosts=_hosts(name, hosts),
    )
    raise_on_failure(cloud.doctor(options))
    out.print("preflight passed")


@app.command()
def destroy(
    target: Where = None,
    os_cloud: Cloud = None,
    name: Name = DEFAULT_NAME,
    keep_data: Annotated[
        bool,
        typer.Option("--keep-data", help="Local: keep the cache, the pushed images, the login and the certificates."),
    ] = False,
    built_images: Annotated[
        bool, typer.Option("--images", help="Local: remove the images that were built here and the cache folder too.")
    ] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Cloud: also delete the pushed images in Swift.")] = False,
    yes: Yes = False,
) -> None:
    """Remove a deployment, after listing what is deleted and asking."""
    chosen = chosen_target(target, os_cloud, name)
    refuse_other_target(name, chosen)
    if chosen is Target.local:
        _destroy_local(name, keep_data, built_images, yes)
        return
    from registry_stack.targets.cloud import target as cloud

    images = "and the pushed images in Swift" if purge else "but not the pushed images in Swift"
    out.print(f"This deletes the stack {name} with its server, addresses and cache, {images}.", markup=False)
    _confirm(yes)
    with progress("destroying", spinner=False) as report:
        existed = cloud.destroy(cloud_options(chosen, os_cloud, name), purge, report)
    out.print(f"deleted stack {name}" if existed else f"no stack {name} exists", markup=False)


@app.command("client-config")
def client_config(
    client: Annotated[str, typer.Argument(help=f"One of {', '.join(CLIENTS)}.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Print how to configure a client to use the mirror and to push: its files, and where they go."""
    if client not in CLIENTS:
        raise RegistryStackError(f'unknown client "{client}": choose one of {", ".join(CLIENTS)}')
    out.print(client_configuration(client, current(name)), markup=False, end="")


@app.command()
def demo(
    rate: Annotated[float, typer.Option(help="Rate of the link to the upstream, in Mbit/s.")] = 40.0,
    hosts: Annotated[int, typer.Option(help="Hosts of a group, 1 to 8, with a Swift beside them.")] = 1,
    as_json: Json = False,
) -> None:
    """Pull and push with two Docker hosts, and print a table of times.

    Two fresh Docker hosts pull the same image of a few hundred MB through the mirror, whose link to the upstream is
    limited; then one pushes it to the registry and the other pulls it from there. Everything is removed afterwards.
    """
    from registry_stack.commands.demo import run_demo

    with progress("demo") as report:
        result = run_demo(rate, report, _checked(hosts))
    if as_json:
        out.print(result.as_json(), markup=False)
    else:
        out.print(result.table())


def main() -> None:
    """The console script."""
    report_errors(app)


def _hosts(name: str, given: int | None) -> int:
    """How many hosts a deployment is to have: without a number, as many as it has."""
    if given is None:
        found = State(name).load()
        return max(len(found.members), 1) if found else 1
    return _checked(given)


def _checked(hosts: int) -> int:
    if not 1 <= hosts <= MOST_HOSTS:
        raise RegistryStackError(f"--hosts {hosts}: a deployment has 1 to {MOST_HOSTS} hosts")
    return hosts


def _destroy_local(name: str, keep_data: bool, images: bool, yes: bool) -> None:
    client = engine()
    parts = local.list_resources(client, name)
    if parts:
        going = [part for part in parts if not (keep_data and part.startswith("volume "))]
        out.print("This deletes:", *(f"  {part}" for part in going), sep="\n", markup=False)
        if not keep_data:
            out.print("and with it the cache, the pushed images, the login and the CA (--keep-data keeps them).")
    else:
        out.print(f'nothing is deployed under the name "{name}"', markup=False)
        if not keep_data:
            State(name).remove()
    built = list_project_images(client)
    if images:
        out.print(
            "This deletes as well:", *(f"  image {tag}" for tag in built), f"  {cache_path()}", sep="\n", markup=False
        )
    elif parts:
        out.print(
            f"These stay, to deploy again soon: {len(built)} images and {cache_path()} (--images deletes them).",
            markup=False,
        )
    if not parts and not images:
        return
    _confirm(yes)
    for part in local.destroy(name, keep_data):
        err.print(f"deleted {part}", markup=False)
    if images:
        remove_project_images(client, lambda line: err.print(line, markup=False))


def _confirm(yes: bool) -> None:
    if not _agree(yes):
        raise typer.Exit(1)


def _agree(yes: bool, consequence: str = "") -> bool:
    """Print the consequence and ask for confirmation, unless --yes was given."""
    if consequence:
        err.print(consequence, markup=False)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise RegistryStackError("confirmation needs a terminal: add --yes to continue")
    return typer.confirm("Continue?")


def _print_deployment(deployment: Deployment) -> None:
    if deployment.members:
        _print_group(deployment)
        return
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
        f"  install -D {deployment.ca_file} /etc/docker/certs.d/docker.io/ca.crt",
        f'  echo \'{{"registry-mirrors": ["{deployment.mirror_url}"]}}\' > /etc/docker/daemon.json',
        "  systemctl reload docker",
        f"  docker login -u {deployment.registry_username} --password-stdin {registry} < {deployment.password_file}",
        f"Other clients: {command_line('client-config', 'containerd|podman|buildkit|k3s')}",
    )
    out.print(*lines, sep="\n", markup=False)


def _print_group(deployment: Deployment) -> None:
    """The hosts of a group, and where clients are told of all of them."""
    table = Table("host", "mirror", "registry")
    for member in deployment.members:
        table.add_row(member.name, member.mirror_url, member.registry_url)
    out.print(table)
    lines = (
        f"login      {deployment.registry_username}, password in {deployment.password_file}",
        f"CA         {deployment.ca_file}",
        "",
        "Each host serves all images, pushed ones too; clients go on with the others when one is down.",
        f"To use them: {command_line('client-config', 'docker|containerd|podman|buildkit|k3s')}",
    )
    out.print(*lines, sep="\n", markup=False)


def _print_services(found: Status) -> None:
    group = bool(found.deployment.members)
    table = Table(*(["host"] if group else []), "service", "state", "memory")
    for service in found.services:
        memory = f"{service.memory_mib:.1f} MiB" if service.memory_mib else ""
        table.add_row(*([service.host] if group else []), service.unit, service.state, memory)
    if found.memory_mib:
        table.add_row(*([""] if group else []), "total", "", f"{found.memory_mib:.1f} MiB")
    out.print(table)
