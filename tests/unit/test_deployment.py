"""What is remembered of deployments, and which command may touch it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from registry_stack.deployment import Deployment, State, forget_all
from registry_stack.errors import RegistryStackError
from registry_stack.targets.choice import Target, cloud_options, refuse_other_target

LOCAL = Deployment("local", "one", "https://localhost", "https://localhost:5000", "/ca.crt", "docker", "/password")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGISTRY_STACK_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_name_of_a_deployment_on_another_target_is_refused() -> None:
    State("one").save(LOCAL)
    refuse_other_target("one", Target.local)
    refuse_other_target("two", Target.cloud)
    with pytest.raises(RegistryStackError, match="is deployed on the target local: use --target local or"):
        refuse_other_target("one", Target.cloud)


def test_deployment_on_a_cloud_is_found_on_that_cloud() -> None:
    State("one").save(replace(LOCAL, target="cloud", cloud="production"))
    assert cloud_options(Target.cloud, None, "one").cloud == "production"
    assert cloud_options(Target.cloud, "another", "one").cloud == "another"
    assert cloud_options(Target.cloud, None, "two").cloud is None


def test_lab_environment_file_is_the_default(state: Path) -> None:
    (state / "lab").mkdir(parents=True)
    (state / "lab" / "clouds.yaml").touch()
    assert cloud_options(Target.lab, None, "one").environments == [state / "lab" / "env.yaml"]
    assert cloud_options(Target.lab, None, "one", [Path("mine.yaml")]).environments == [Path("mine.yaml")]


def test_old_record_without_cloud_and_project_is_read(state: Path) -> None:
    fields = asdict(LOCAL)
    del fields["cloud"], fields["project"]
    (state / "one").mkdir(parents=True)
    (state / "one" / "deployment.json").write_text(json.dumps(fields))
    assert State("one").load() == LOCAL


def test_record_is_read_by_an_earlier_version_that_knows_no_groups(state: Path) -> None:
    """Who goes back to that one has no group."""
    State("one").save(LOCAL)
    assert not {"members", "load_balancer"} & json.loads((state / "one" / "deployment.json").read_text()).keys()
    assert State("one").load() == LOCAL


def test_deployments_on_the_lab_are_forgotten_with_it(state: Path) -> None:
    assert forget_all("lab") == []
    State("here").save(LOCAL)
    State("there").save(replace(LOCAL, target="lab"))
    State("lab").write("clouds.yaml", "{}")
    assert forget_all("lab") == ["there"]
    assert sorted(path.name for path in state.iterdir()) == ["here", "lab"]
