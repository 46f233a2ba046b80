"""What `destroy` does to whom, and what is said of a certificate."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry_stack.deployment import Deployment, State
from registry_stack.errors import RegistryStackError
from registry_stack.targets.cloud import target
from registry_stack.targets.cloud.target import CloudOptions

NAME = "one"
KNOWN = Deployment(
    "cloud", NAME, "https://192.0.2.1", "https://192.0.2.1:5000", "/ca.crt", "docker", "/password", project="mine"
)


@dataclass
class Cloud:
    """A cloud with one stack, or none, and what was done to it, in order."""

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
    """What a `destroy --purge` says."""
    said: list[str] = []
    monkeypatch.setattr(target, "connect", lambda *_names: cloud)
    monkeypatch.setattr(target, "Stack", cloud.stack)
    target.destroy(CloudOptions(name=NAME), purge=True, report=said.append)
    return said


def test_images_are_purged_while_the_stack_can_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    State(NAME).save(KNOWN)
    cloud = Cloud({"storage_driver": "swift", "swift_container": "images", "os_project_name": "my-project"})
    assert destroyed(monkeypatch, cloud) == ["deleted 1 objects in the Swift container images"]
    assert cloud.done == ["delete images/object", "delete images", "delete stack"]
    assert State(NAME).load() is None


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"storage_driver": "s3"}, "not purged: the images are not in Swift, by storage_driver"),
        (
            {"storage_driver": "swift", "swift_container": "images", "os_project_name": "other"},
            'not purged: the images are in the Swift of the project "other"',
        ),
        ({}, "not purged: the images are not in Swift, by storage_driver"),
    ],
)
def test_what_is_not_purged_is_said(monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], said: str) -> None:
    cloud = Cloud(parameters)
    assert destroyed(monkeypatch, cloud) == [said]
    assert cloud.done == ["delete stack"]


def test_a_purge_without_a_stack_says_that_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = destroyed(monkeypatch, Cloud(None))
    assert said.startswith("not purged: only the stack knew where its images are")


def test_what_is_deployed_in_another_project_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    State(NAME).save(KNOWN)
    cloud = Cloud({"storage_driver": "swift", "swift_container": "images"}, current_project_id="theirs")
    with pytest.raises(
        RegistryStackError, match=r'"one" is deployed in another project \(another cloud, project mine\)'
    ):
        destroyed(monkeypatch, cloud)
    assert cloud.done == []
    assert State(NAME).load() == KNOWN


def refusal(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


UNKNOWN_ISSUER, EXPIRED = 20, 10


@pytest.mark.parametrize(("new_server", "code"), [(True, UNKNOWN_ISSUER), (True, EXPIRED), (False, EXPIRED)])
def test_a_certificate_that_cannot_be_its_operators_is_an_error(
    monkeypatch: pytest.MonkeyPatch, new_server: bool, code: int
) -> None:
    def refuse(*_arguments: Any) -> int:
        raise refusal(code)

    monkeypatch.setattr(target, "get_status", refuse)
    with pytest.raises(RegistryStackError, match="serves a certificate that is not of the stack's CA"):
        target._certificate_warning(KNOWN, new_server)


def test_a_certificate_of_ones_own_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> int:
        raise refusal(UNKNOWN_ISSUER)

    monkeypatch.setattr(target, "get_status", refuse)
    warning = target._certificate_warning(KNOWN, new_server=False)
    assert warning.startswith("https://192.0.2.1 serves a certificate of another CA than the stack's")
