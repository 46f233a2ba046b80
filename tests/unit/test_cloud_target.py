"""`destroy --purge`, and the check of the certificate that a deployment presents."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry_stack.deployment import Deployment, State
from registry_stack.errors import RegistryStackError
from registry_stack.targets.cloud import certificate, target
from registry_stack.targets.cloud.options import CloudOptions

NAME = "one"
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
