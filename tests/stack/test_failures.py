"""What a cloud or a user can do wrong: found before anything is made, or told with the host's own reason; nothing is
left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from openstack.connection import Connection

from registry_stack.errors import RegistryStackError
from registry_stack.product import TEMPLATE
from registry_stack.targets.cloud.stack import Request, Stack
from registry_stack.template.template import load_template
from tests.stack.openstack import command
from tests.stack.stack_under_test import StackUnderTest, heat_of
from tests.support.commands import run
from tests.support.lab import UsedLab

pytestmark = pytest.mark.long

DEADLINE_S = 900
# case: (what is broken, the expected reason). Each is a separate stack that Heat creates without preflight checks.
ON_THE_HOST = {
    "image": (
        {"registry_image": "upstream.test:5000/registry:no-such-tag"},
        "docker-registry does not start: image upstream.test:5000/registry:no-such-tag cannot be pulled",
    ),
    "password": (
        {"os_password": "wrong"},
        "docker-registry does not start: Swift: http://10.77.30.10:5000/v3 refuses user 'registry' (HTTP 401)",
    ),
    "upstream": (
        {"upstream_url": "http://nowhere.upstream.test:5000"},
        "the mirror cannot pull library/check:1.0 from http://nowhere.upstream.test:5000",
    ),
}
REQUIRED = [name for name, parameter in load_template(TEMPLATE).parameters.items() if parameter.required]


def attempt(world: StackUnderTest, case: str) -> str:
    """Have Heat create a stack with one thing broken; return the reason of its failure."""
    name = f"{world.name}-{case}"
    stack = Stack(heat_of(world.lab), name)
    parameters = world.parameters | {"hostname": name} | ON_THE_HOST[case][0]
    stack.create(Request.read(name, TEMPLATE, [], parameters), DEADLINE_S)
    try:
        stack.wait(DEADLINE_S, lambda _line: None)
    except RegistryStackError as error:
        return str(error)
    finally:
        stack.delete(lambda _line: None)
    return "created"


@pytest.mark.parametrize("case", ON_THE_HOST)
def test_host_failure_reason_fails_the_stack(world: StackUnderTest, case: str) -> None:
    """One after the other: two servers that boot at the same time on two emulating processors take twice as long."""
    reason = attempt(world, case)
    assert reason.startswith("CREATE_FAILED: settings: "), reason
    assert ON_THE_HOST[case][1] in reason


# case: (parameter=value, line of the preflight). All of it is asked before anything is made.
REFUSED = {
    "image": ("server_image=nothing", 'server_image: no image "nothing" (openstack image list)'),
    "flavor": ("server_flavor=nothing", 'server_flavor: no flavor "nothing" (openstack flavor list)'),
    "small flavor": (
        "server_flavor=registry.tiny",
        'server_flavor: "registry.tiny" has 256 MB of memory, 1024 are needed',
    ),
    "key": ("server_key=nothing", 'server_key: no key pair "nothing" (openstack keypair list)'),
    "external network": (
        "fip_network=nothing",
        'fip_network: no network "nothing" (openstack network list --external)',
    ),
    "network": ("network=nothing", 'network: no network "nothing" (openstack network list)'),
    "zone": ("dns_zone=nothing.example.", 'dns_zone: no zone "nothing.example." (openstack zone list)'),
    "volume": ("cache_volume_size=1", "cache_volume_size: this cloud has no Cinder: use 0 instead of 1"),
    "password": ("os_password=wrong", 'os_username, os_password: http://10.77.30.10:5000/v3 refuses user "registry"'),
}


@pytest.fixture(scope="module")
def tiny_flavor(lab: UsedLab) -> Iterator[None]:
    admin = lab.connect(admin=True)
    flavor = admin.compute.create_flavor(name="registry.tiny", vcpus=1, ram=256, disk=10)
    yield
    admin.compute.delete_flavor(flavor)


@pytest.mark.usefixtures("tiny_flavor")
@pytest.mark.parametrize("case", REFUSED)
def test_preflight_refuses(world: StackUnderTest, case: str) -> None:
    name = f"{world.name}-refused"
    parameter, line = REFUSED[case]
    done = run("deploy", "--target", "lab", "--name", name, "-e", str(world.environment), "-P", parameter)
    assert (done.code, done.error) == (1, "error: preflight failed:")
    assert f"\n  {line}" in done.err
    assert Stack(heat_of(world.lab), name).get() is None


def test_preflight_names_all_at_once(world: StackUnderTest) -> None:
    wrong = ("key", "image", "flavor", "zone")
    options = [part for case in wrong for part in ("-P", REFUSED[case][0])]
    done = run("doctor", "--target", "lab", *options)
    assert done.code == 1
    assert [line.strip() for line in done.err.splitlines()[1:]] == [REFUSED[case][1] for case in wrong]


@contextmanager
def quota(admin: Connection, project: str, name: str) -> Iterator[None]:
    """None of it left for a project."""
    before = admin.network.get_quota(project)[name]
    admin.network.update_quota(project, **{name: 0})
    try:
        yield
    finally:
        admin.network.update_quota(project, **{name: before})


def test_no_quota(world: StackUnderTest) -> None:
    project = world.lab.connect().current_project_id
    assert project is not None
    with quota(world.lab.connect(admin=True), project, "floating_ips"):
        done = run("doctor", "--target", "lab", "--name", "other", "-e", str(world.environment))
    assert (done.code, done.err.splitlines()[-1].strip()) == (
        1,
        "quota: not enough floating ips left (openstack quota show)",
    )


def test_no_swift(world: StackUnderTest) -> None:
    """A cloud whose catalog has none."""
    admin = world.lab.connect(admin=True)
    admin.update_service("swift", enabled=False)
    try:
        done = run("doctor", "--target", "lab", "-e", str(world.environment))
    finally:
        admin.update_service("swift", enabled=True)
    assert (done.code, done.err.splitlines()[-1].strip()) == (
        1,
        "storage_driver: this cloud has no Swift: use s3 or filesystem",
    )


@pytest.mark.parametrize("missing", REQUIRED)
def test_missing_parameter(world: StackUnderTest, tmp_path: Path, missing: str) -> None:
    """Of the ten: the command's own line, and Heat's."""
    assert len(REQUIRED) == 10
    rest = {name: world.parameters[name] for name in REQUIRED if name != missing}
    environment = tmp_path / "env.yaml"
    environment.write_text(yaml.safe_dump({"parameters": rest}))
    done = run("deploy", "--target", "lab", "--name", "none", "-e", str(environment))
    assert done.code == 1
    assert done.error.startswith(f"error: missing parameter: {missing}; add to {environment} or use -P")


def test_missing_parameters_by_hand(world: StackUnderTest) -> None:
    done = command(world.lab, "stack", "create", "-t", str(TEMPLATE), f"{world.name}-none")
    assert done.returncode == 1
    assert "The Parameter (hostname) was not provided." in done.stderr


def test_template_validates_without_a_warning(lab: UsedLab) -> None:
    done = command(lab, "orchestration", "template", "validate", "-t", str(TEMPLATE))
    # What the command says of plug-ins for other services that it finds installed is not of the template.
    warnings = [line for line in done.stderr.splitlines() if not line.startswith("Could not load ")]
    assert (done.returncode, warnings) == (0, [])
