"""`destroy --purge`, what an update notices, and the check of the certificate that a deployment presents."""

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry_stack.authority import has_authority
from registry_stack.deployment import Deployment, State
from registry_stack.errors import RegistryStackError
from registry_stack.product import EXAMPLE, TEMPLATE
from registry_stack.targets.cloud import certificate, target
from registry_stack.targets.cloud.options import CloudOptions
from registry_stack.targets.cloud.preflight import user_data_fits
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template

NAME = "one"
REQUIRED = (
    *("hostname", "domain", "server_key", "server_flavor", "server_image", "fip_network"),
    *("os_username", "os_password", "os_region"),
)
KNOWN = Deployment(
    "cloud", NAME, "https://192.0.2.1", "https://192.0.2.1:5000", "/ca.crt", "docker", "/password", project="mine"
)


@dataclass
class Cloud:
    """A cloud with one stack or none, which records what is done to it."""

    parameters: dict[str, str] | None
    done: list[str] = field(default_factory=list)
    current_project_id: str = "mine"
    current_project: Any = field(default_factory=lambda: SimpleNamespace(id="mine", name="my-project"))

    @property
    def object_store(self) -> Any:
        return SimpleNamespace(
            objects=lambda container: [f"{container}/object"],
            delete_object=lambda item, **_more: self.done.append(f"delete {item}"),
            delete_container=lambda name, **_more: self.done.append(f"delete {name}"),
        )

    def stack(self, _heat: Any, _name: str) -> Any:
        found = None if self.parameters is None else SimpleNamespace(parameters=self.parameters)
        return SimpleNamespace(get=lambda: found, delete=lambda _report: self.done.append("delete stack"))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_STACK_STATE", str(tmp_path))
    monkeypatch.setattr(target, "heat", lambda _connection: None)


def destroyed(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> list[str]:
    """The progress that `destroy --purge` reports."""
    said: list[str] = []
    monkeypatch.setattr(target, "connect", lambda *_names: cloud)
    monkeypatch.setattr(target, "Stack", cloud.stack)
    target.destroy(CloudOptions(name=NAME), purge=True, report=said.append)
    return said


def test_purge_deletes_the_images_before_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    State(NAME).save(KNOWN)
    cloud = Cloud({"storage_driver": "swift", "swift_container": "images", "os_project_name": "my-project"})
    assert destroyed(monkeypatch, cloud) == ["deleted 1 objects in the Swift container images"]
    assert cloud.done == ["delete images/object", "delete images", "delete stack"]
    assert State(NAME).load() is None


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"storage_driver": "s3"}, "not purged: storage_driver says that the images are not in Swift"),
        (
            {"storage_driver": "swift", "swift_container": "images", "os_project_name": "other"},
            'not purged: the images are in the Swift account of the project "other"',
        ),
        ({}, "not purged: storage_driver says that the images are not in Swift"),
    ],
)
def test_purge_reports_images_that_it_cannot_delete(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], said: str
) -> None:
    cloud = Cloud(parameters)
    assert destroyed(monkeypatch, cloud) == [said]
    assert cloud.done == ["delete stack"]


def test_purge_without_a_stack_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = destroyed(monkeypatch, Cloud(None))
    assert said.startswith("not purged: only the stack knew where its images are")


def test_destroy_refuses_a_stack_of_another_project(monkeypatch: pytest.MonkeyPatch) -> None:
    State(NAME).save(KNOWN)
    cloud = Cloud({"storage_driver": "swift", "swift_container": "images"}, current_project_id="theirs")
    with pytest.raises(
        RegistryStackError, match=r'"one" is deployed in another project \(another cloud, project mine\)'
    ):
        destroyed(monkeypatch, cloud)
    assert cloud.done == []
    assert State(NAME).load() == KNOWN


@pytest.mark.parametrize(
    ("transport", "by_hand", "updated"),
    [
        ("heat", {}, False),
        ("heat", {"tag_ttl_seconds": "300"}, True),
        ("heat", {"ready_timeout_seconds": "900"}, True),
        # Such a server keeps its timeout: another one would replace the wait condition.
        ("user_data", {"ready_timeout_seconds": "900"}, False),
    ],
)
def test_parameter_changed_by_hand_is_noticed(transport: str, by_hand: dict[str, str], updated: bool) -> None:
    """`openstack stack update --existing` leaves the tag of the request before."""
    template = load_template(TEMPLATE)
    values = resolve_parameters(template, read_environment([EXAMPLE], [f"settings_transport={transport}"]))
    shown = {name: str(value) for name, value in values.items() if not template.parameters[name].hidden} | by_hand
    shown |= {name: ",".join(value) for name, value in values.items() if isinstance(value, list)}
    done: list[str] = []
    stack = SimpleNamespace(
        name=NAME,
        matches=lambda _request: True,
        files=dict,
        is_marked_unhealthy=lambda _resource: False,
        update=lambda *_arguments, **_more: done.append("updated"),
    )
    request: Any = SimpleNamespace(with_parameter=lambda *_arguments: None)
    found = SimpleNamespace(parameters=shown, tags=[], stack_status="UPDATE_COMPLETE", stack_name=NAME)
    job = target._Job(Cloud(None), stack, request, values, 1, CloudOptions(name=NAME), done.append)  # type: ignore[arg-type]
    target._update(job, found)
    assert ("updated" in done, f"stack {NAME} is up to date" in done) == (updated, not updated)


def refusal(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


UNKNOWN_ISSUER, EXPIRED = 20, 10


@pytest.mark.parametrize(("new_server", "code"), [(True, UNKNOWN_ISSUER), (True, EXPIRED), (False, EXPIRED)])
def test_unverifiable_certificate_is_an_error(monkeypatch: pytest.MonkeyPatch, new_server: bool, code: int) -> None:
    def refuse(*_arguments: Any) -> int:
        raise refusal(code)

    monkeypatch.setattr(certificate, "get_status", refuse)
    with pytest.raises(RegistryStackError, match="serves a certificate that the stack's CA does not verify"):
        certificate.certificate_warning(KNOWN, new_server)


def test_operators_own_certificate_on_an_older_server_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> int:
        raise refusal(UNKNOWN_ISSUER)

    monkeypatch.setattr(certificate, "get_status", refuse)
    warning = certificate.certificate_warning(KNOWN, new_server=False)
    assert warning.startswith("https://192.0.2.1 serves a certificate that the stack's CA did not issue: if it is ")


GROUP = CloudOptions(name=NAME, hosts=3, parameters=[*(f"{name}=a" for name in REQUIRED), "os_authurl=http://a"])
OUTPUTS = {
    "mirror_url": "https://registry.example.com",
    "registry_url": "https://registry.example.com:5000",
    "mirror_urls": ["https://192.0.2.1", "https://192.0.2.2"],
    "registry_urls": ["https://192.0.2.1:5000", "https://192.0.2.2:5000"],
    "floating_ips": ["192.0.2.1", "192.0.2.2"],
    "load_balancer_ip": "",
    "ca_certificate": "PEM",
    "registry_username": "docker",
    "registry_password": "secret",
    "upstreams": "",
}


def test_group_has_a_ca_of_its_own_that_stays() -> None:
    values, given = target._values(GROUP)
    assert (given["count"], values["settings_transport"]) == (3, "heat")
    assert given["ca_certificate"]
    assert target._values(GROUP)[1] == given
    assert has_authority(State(NAME))


def test_group_may_have_the_users_ca() -> None:
    own = replace(GROUP, parameters=[*GROUP.parameters, "ca_certificate=QQ==", "ca_certificate_key=Qg=="])
    _values, given = target._values(own)
    assert (given["ca_certificate"], given["ca_certificate_key"]) == ("QQ==", "Qg==")
    assert not has_authority(State(NAME))


def test_a_host_of_a_group_has_every_parameter_of_a_single_one() -> None:
    values = target._host_values(target._values(GROUP)[0])
    assert values.keys() == load_template(TEMPLATE).parameters.keys() | {"count", "load_balancer"}
    assert user_data_fits(SimpleNamespace(current_project_id="p"), values) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "hosts", "has_ca", "message"),
    [
        ({}, 2, True, "stack one is one server, which cannot become a group: use another --name"),
        ({"count": "2"}, 1, True, "stack one is a group, which cannot become one server: use another --name"),
        ({"count": "2"}, 2, False, "the CA of the group one is not in .*: deploy from where it was made, or give "),
    ],
)
def test_what_cannot_be_updated_is_refused(parameters: dict[str, str], hosts: int, has_ca: bool, message: str) -> None:
    with pytest.raises(RegistryStackError, match=f"^{message}"):
        target._refuse_other_kind(SimpleNamespace(parameters=parameters), replace(GROUP, hosts=hosts), has_ca)
    target._refuse_other_kind(SimpleNamespace(parameters={"count": "2"}), GROUP, True)


@pytest.mark.parametrize(("balancer", "address"), [("", "192.0.2.1"), ("192.0.2.9", "192.0.2.9")])
def test_members_are_remembered(monkeypatch: pytest.MonkeyPatch, balancer: str, address: str) -> None:
    monkeypatch.setattr(target, "certificate_warning", lambda *_: "")
    outputs = OUTPUTS | {"load_balancer_ip": balancer}
    job: Any = SimpleNamespace(
        options=replace(GROUP, hosts=2), stack=SimpleNamespace(outputs=lambda: outputs), connection=Cloud(None)
    )
    found = target._remember(job, True)
    assert State(NAME).load() == found
    assert (found.mirror_url, found.address) == ("https://registry.example.com", address)
    assert [(one.name, one.mirror_url, one.address) for one in found.members] == [
        ("one-0", "https://192.0.2.1", "192.0.2.1"),
        ("one-1", "https://192.0.2.2", "192.0.2.2"),
    ]
