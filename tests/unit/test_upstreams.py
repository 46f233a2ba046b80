"""The parameter `upstreams`: what the template lets through, and that package and host make the same of it."""

import re
import subprocess
from pathlib import Path

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.product import EXAMPLE, TEMPLATE
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.upstreams import parse_upstreams, presets, product_files

PRESETS = "/etc/docker-registry/presets"
# What the library of the host's scripts needs to be tried alone.
PRELUDE = 'set -euo pipefail; fail() { echo "error: $*" >&2; exit 1; }'


def on_the_host(tmp_path: Path, upstreams: str, *commands: str) -> subprocess.CompletedProcess[str]:
    """What these functions of the host's own library print."""
    files = product_files()
    (tmp_path / "presets").write_bytes(files[PRESETS].content)
    library = files["/opt/registry/lib/upstreams.sh"].content.decode().replace(PRESETS, str(tmp_path / "presets"))
    script = "\n".join([PRELUDE, library, *commands])
    environment = {"UPSTREAM_URL": "https://registry-1.docker.io", "UPSTREAMS": upstreams, "PATH": "/usr/bin:/bin"}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "upstreams"),
    [
        ("", {}),
        ("ghcr=https://ghcr.io", {"ghcr": "https://ghcr.io"}),
        (
            "k8s,ecr-public,corp=https://registry.corp.example",
            {
                "k8s": "https://registry.k8s.io",
                "ecr-public": "https://public.ecr.aws",
                "corp": "https://registry.corp.example",
            },
        ),
        ("quay=https://quay.corp.example:5000", {"quay": "https://quay.corp.example:5000"}),
        ("path=https://nexus.corp.example/registry,k8s", {"path": "https://nexus.corp.example/registry", "k8s": ""}),
    ],
)
def test_package_and_host_agree(text: str, upstreams: dict[str, str], tmp_path: Path) -> None:
    expected = {name: url or presets()[name] for name, url in upstreams.items()}
    assert parse_upstreams(given(text)) == expected
    done = on_the_host(tmp_path, text, "check_upstreams", "upstreams")
    assert done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {name: url for name, url, _host, _port in lines} == expected
    assert [host for _name, _url, host, _port in lines] == [url.split("/")[2] for url in expected.values()]
    assert [int(port) for *_rest, port in lines] == list(range(8081, 8081 + len(expected)))


def given(text: str) -> str:
    """The parameter, if the template lets it through."""
    environment = read_environment([EXAMPLE], [f"upstreams={text}"])
    return str(resolve_parameters(load_template(TEMPLATE), environment)["upstreams"])


def test_template_knows_the_presets() -> None:
    """Heat knows no file but the template: it has their names once more, in the pattern and in two texts for people."""
    parameter = load_template(TEMPLATE).parameters["upstreams"]
    (pattern,) = (one for one in parameter.constraints if one.kind == "allowed_pattern")
    names = re.match(r"\(\(([a-z0-9|-]+)\|\[", pattern.definition)
    assert names
    assert names[1].split("|") == list(presets())
    assert pattern.description is not None
    for text in (parameter.description, pattern.description):
        assert [name for name in presets() if not re.search(rf"\b{name}\b", text)] == []
    assert given(",".join(presets())) == ",".join(presets())


@pytest.mark.parametrize("text", ["gar", "ghrc", "k8s,ghrc", "k8s,", ",k8s", "k8s,,quay", "k8s quay", "K8S", "k8s="])
def test_what_the_template_refuses(text: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        given(text)
    message = str(error.value)
    assert message.startswith('parameter "upstreams" ')
    assert "must be k8s, ghcr, quay, gcr, lscr, mcr, ecr-public, gitlab, redhat or NAME=URL" in message
    assert "gar=https://REGION-docker.pkg.dev" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["gar", "ghrc"])
def test_unknown_name(name: str, tmp_path: Path) -> None:
    """Where no template stands before: a stack's output, a host without Heat."""
    with pytest.raises(RegistryStackError) as error:
        parse_upstreams(f"k8s,{name}")
    done = on_the_host(tmp_path, f"k8s,{name}", "check_upstreams")
    assert done.returncode == 1
    for message in (str(error.value), done.stderr):
        assert f"upstreams: no registry is known as {name}" in message.replace('"', "")
        assert all(preset in message for preset in presets())
        assert message.rstrip("\n").endswith(f": write {name}=URL, such as gar=https://REGION-docker.pkg.dev")


def test_every_preset_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs/upstreams.md").read_text()
    for name, url in presets().items():
        assert f"`{name}`" in page
        assert f"`{url}`" in page
