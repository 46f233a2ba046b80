"""The command `lab`: build, up, down, status, shell, openrc."""

from typing import Annotated

import typer

from registry_stack.console import err, out, progress
from registry_stack.lab import settings
from registry_stack.product import TEMPLATE, shown

app = typer.Typer(no_args_is_help=True, help="Run a whole OpenStack in one throwaway container, to try stacks.")


@app.command()
def build() -> None:
    """Build the lab's images, which takes about ten minutes; with them the lab starts within one."""
    from registry_stack.docker.engine import engine
    from registry_stack.lab.build import lab_image

    with progress("lab") as report:
        image = lab_image(engine(report), report)
    out.print(image, markup=False)


@app.command()
def up(
    volumes: Annotated[bool, typer.Option("--volumes", help="Add Cinder, which needs half a GiB more memory.")] = False,
    load_balancers: Annotated[
        bool,
        typer.Option("--load-balancers", help="Add Octavia, whose load balancers carry no traffic; half a GiB, too."),
    ] = False,
) -> None:
    """Start the lab; the first time this builds it, which takes about ten minutes."""
    from registry_stack.lab import credentials, lab

    with progress("lab") as report:
        folder = lab.up(report, volumes=volumes, load_balancers=load_balancers)
    lines = (
        f"Keystone     {settings.KEYSTONE}",
        f"credentials  {folder / credentials.CLOUDS}, {folder / credentials.OPENRC}",
        f"SSH key      {folder / credentials.SSH_KEY}, user {settings.SSH_USER}",
        "",
        f"  export OS_CLIENT_CONFIG_FILE={folder / credentials.CLOUDS} OS_CLOUD={settings.CLOUD}",
        f"  openstack stack create --wait -e {folder / credentials.ENVIRONMENT} -t {shown(TEMPLATE)} docker_registry",
    )
    out.print(*lines, sep="\n", markup=False)


@app.command()
def down() -> None:
    """Remove the lab and everything in it. Its images are kept, so that the next one starts within a minute."""
    from registry_stack.lab import lab

    gone = lab.down()
    for part in gone:
        err.print(f"deleted {part}", markup=False)
    if not gone:
        out.print("no lab exists")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Show each readiness check of the lab. Exits with 1 when one fails."""
    from registry_stack.lab import lab

    found = lab.status()
    if as_json:
        out.print(found.as_json(), markup=False)
    else:
        for check in found.checks:
            out.print(
                f"{'ok    ' if check.passed else 'FAILED'}  {check.name}{'' if check.passed else f': {check.failure}'}",
                markup=False,
            )
        out.print(f"memory: {found.memory_mib} MiB; credentials: {found.folder}", markup=False)
    if not found.healthy:
        raise typer.Exit(1)


@app.command()
def shell() -> None:
    """Open a shell in the lab, as root and as the cloud's administrator."""
    from registry_stack.lab import lab

    lab.shell()


@app.command()
def openrc() -> None:
    """Print the operator's credentials for a shell: eval "$(tox -qqe lab -- openrc)"."""
    from registry_stack.lab import lab

    out.print(lab.openrc(), markup=False, end="")
