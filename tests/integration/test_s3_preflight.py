"""The preflight's question to an S3 bucket, put to Swift's S3 API."""

from typing import Any

import pytest

from registry_stack.targets.cloud.s3 import s3_objection
from tests.integration.swift import Swift

BUCKET = "asked-beforehand"


@pytest.fixture(scope="module")
def values(swift: Swift) -> dict[str, Any]:
    """Of a stack in this bucket, with Swift where it is reached from here."""
    parameters = swift.s3_parameters(BUCKET)
    return parameters | {"s3_region": "us-east-1", "s3_endpoint": swift.reached_from_here(parameters["s3_endpoint"])}


def test_bucket_that_can_be_written_to(swift: Swift, values: dict[str, Any]) -> None:
    assert s3_objection(values) is None
    assert swift.objects(BUCKET) == []


def test_no_bucket(values: dict[str, Any]) -> None:
    line = f's3_bucket: no bucket "no-such-bucket" at {values["s3_endpoint"]}: create it'
    assert s3_objection(values | {"s3_bucket": "no-such-bucket"}) == line


@pytest.mark.parametrize("name", ["s3_access_key", "s3_secret_key"])
def test_wrong_key(values: dict[str, Any], name: str) -> None:
    line = s3_objection(values | {name: "0123456789abcdef"})
    assert line is not None
    assert line.startswith(
        f's3_access_key, s3_secret_key: {values["s3_endpoint"]} refuses to write to bucket "{BUCKET}": '
    )
    assert values["s3_secret_key"] not in line


def test_no_key(values: dict[str, Any]) -> None:
    line = "s3_access_key, s3_secret_key: storage_driver s3 needs both"
    assert s3_objection(values | {"s3_secret_key": ""}) == line


def test_no_endpoint(values: dict[str, Any]) -> None:
    line = s3_objection(values | {"s3_endpoint": "http://127.0.0.1:9"})
    assert line is not None
    assert line.startswith("s3_endpoint: http://127.0.0.1:9 cannot be used: ")
