"""The stack deleted, made again by hand, adopted, and with another server and other storage: what was pushed is found
again. These tests are one story, in this order."""

import pytest

from tests.stack.openstack import command
from tests.stack.stack_under_test import StackUnderTest
from tests.support.oci import ImageRef

pytestmark = pytest.mark.long
USER = "registry_username=another"
REPLACING = "settings_transport=user_data"


@pytest.fixture(scope="module")
def pushed(deployed: StackUnderTest) -> ImageRef:
    """What is to be found again."""
    return deployed.registry().push("lifecycle/kept", "1", [10_000, 2_000_000])


def is_there(world: StackUnderTest, pushed: ImageRef) -> bool:
    return world.registry().pull("lifecycle/kept", "1").digest == pushed.digest


def test_server_replacement_is_announced_and_confirmed(deployed: StackUnderTest, pushed: ImageRef) -> None:
    """Asked, and nobody answers: nothing is changed."""
    server = deployed.server
    done = deployed.deploy("-P", REPLACING)
    assert (done.code, done.error) == (1, "error: confirmation needs a terminal: add --yes to continue")
    assert "settings_transport: heat -> user_data" in done.err
    assert "This replaces the server (settings_transport). The cache on its disk is lost" in done.err
    assert deployed.server == server
    assert is_there(deployed, pushed)


@pytest.fixture(scope="module")
def by_hand(deployed: StackUnderTest, pushed: ImageRef) -> StackUnderTest:
    """Destroyed, and created again with the ordinary command; then found by `deploy`."""
    done = deployed.destroy()
    assert done.code == 0, done.err
    assert deployed.stack.get() is None
    assert len(deployed.objects()) > 0
    environment, template = str(deployed.environment), "heat/registry.yaml"
    made = command(deployed.lab, "stack", "create", "--wait", "-e", environment, "-t", template, deployed.name)
    assert made.returncode == 0, made.stderr
    assert "CREATE_COMPLETE" in made.stdout
    return deployed


def test_deploy_adopts_a_stack_created_by_hand(by_hand: StackUnderTest, pushed: ImageRef) -> None:
    """The command finds the stack of the same name, and leaves its server alone."""
    server = by_hand.server
    done = by_hand.deploy()
    assert done.code == 0, done.err
    assert by_hand.server == server
    assert is_there(by_hand, pushed)
    assert f"stack {by_hand.name} is up to date" in by_hand.deploy().err


@pytest.fixture(scope="module")
def in_s3(by_hand: StackUnderTest) -> StackUnderTest:
    """Storing in Swift by its S3 API, with an EC2 credential, in a bucket that exists."""
    connection, bucket = by_hand.lab.connect(), f"{by_hand.name}-bucket"
    connection.object_store.create_container(bucket)
    credential = connection.identity.post(
        f"/users/{connection.current_user_id}/credentials/OS-EC2", json={"tenant_id": connection.current_project_id}
    ).json()["credential"]
    endpoint = str(connection.object_store.get_endpoint()).partition("/v1/")[0]
    parameters = {
        "storage_driver": "s3",
        "s3_endpoint": endpoint,
        "s3_bucket": bucket,
        "s3_access_key": credential["access"],
        "s3_secret_key": credential["secret"],
    }
    options = [part for name, value in parameters.items() for part in ("-P", f"{name}={value}")]
    before = by_hand.server
    done = by_hand.deploy(*options, "-P", USER, "-P", REPLACING, "--yes")
    assert done.code == 0, done.err
    assert by_hand.server != before
    assert credential["secret"] not in done.out + done.err
    return by_hand


def test_update_with_another_server(in_s3: StackUnderTest) -> None:
    """Complete means that the new server works, with its settings in user-data; its CA is in the output."""
    assert in_s3.deployment.registry_username == "another"
    in_s3.registry().expect(200, "GET", "/v2/")
    in_s3.mirror().expect(200, "GET", "/v2/")
    in_s3.registry(("docker", in_s3.deployment.password)).expect(401, "GET", "/v2/")
    servers = [item.name for item in in_s3.lab.connect().compute.servers()]
    assert servers.count(in_s3.name) == 1


def test_swifts_s3_api_as_storage(in_s3: StackUnderTest) -> None:
    image = in_s3.registry().push("lifecycle/s3", "1", [10_000, 2_000_000])
    assert in_s3.registry().pull("lifecycle/s3", "1").digest == image.digest
    names = " ".join(in_s3.objects(f"{in_s3.name}-bucket"))
    assert all(layer.digest.removeprefix("sha256:") in names for layer in image.layers)
