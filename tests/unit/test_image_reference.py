"""Image references: what is accepted, what is refused with which words, and whose registry is asked."""

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.images.reference import check_reference, registry_host

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "reference",
    [
        "redis",
        "registry:2.8.3",
        "library/node:lts-alpine",
        "ghcr.io/a/b_c/d__e/f-g:V1.0",
        "localhost:5000/x",
        "[fd00::1]:5000/x:1",
        f"registry@{DIGEST}",
        f"quay.io/a/b:1@{DIGEST}",
    ],
)
def test_accepts(reference: str) -> None:
    assert check_reference(reference, "registry_image") == reference


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "Registry:2",
        "a//b",
        "a:",
        "a:b:c",
        "-a",
        "a b",
        "a@sha256:short",
        "a:.x",
        "http://a/b",
        "a\n",
        "x" * 256,
    ],
)
def test_refuses_and_names_the_parameter(reference: str) -> None:
    with pytest.raises(RegistryStackError) as caught:
        check_reference(reference, "registry_image")
    assert str(caught.value) == (
        f"registry_image: {reference!r} is not an image reference: "
        "write it as [REGISTRY/]NAME[:TAG][@DIGEST], lower case, like registry:2.8.3"
    )


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("redis", "docker.io"),
        ("library/redis:7", "docker.io"),
        ("ghcr.io/a/b", "ghcr.io"),
        ("localhost/a", "localhost"),
        ("mirror:5000/a", "mirror:5000"),
    ],
)
def test_registry_host(reference: str, host: str) -> None:
    assert registry_host(reference) == host
