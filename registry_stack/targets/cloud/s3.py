"""Whether an S3 bucket takes what the registry will write, tried with the registry's own credentials."""

from collections.abc import Mapping
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

PROBE_OBJECT = ".preflight"
# Path-style addresses, as on the host. Checksums as before 2025, which is all that most other stores support.
_CONFIG = Config(
    s3={"addressing_style": "path"},
    connect_timeout=10,
    read_timeout=30,
    retries={"max_attempts": 1},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


def s3_failure(values: Mapping[str, Any], verify: str | bool = True) -> str | None:
    """Write an object and delete it again; one line naming the parameter when that fails.

    `verify` is a file of CA certificates that replaces the usual ones.
    """
    endpoint, bucket = values["s3_endpoint"] or "Amazon S3", values["s3_bucket"]
    if not values["s3_access_key"] or not values["s3_secret_key"]:
        return "s3_access_key, s3_secret_key: storage_driver s3 needs both"
    try:
        client = _client(values, verify)
        client.put_object(Bucket=bucket, Key=PROBE_OBJECT, Body=b"")
        client.delete_object(Bucket=bucket, Key=PROBE_OBJECT)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchBucket":
            return f's3_bucket: no bucket "{bucket}" at {endpoint}: create it'
        return f's3_access_key, s3_secret_key: {endpoint} refuses to write to bucket "{bucket}": {code}'
    except (BotoCoreError, ValueError) as error:
        return f"s3_endpoint: {endpoint} cannot be used: {error}"
    return None


def _client(values: Mapping[str, Any], verify: str | bool) -> Any:
    return Session().create_client(
        "s3",
        region_name=values["s3_region"],
        endpoint_url=values["s3_endpoint"] or None,
        aws_access_key_id=values["s3_access_key"],
        aws_secret_access_key=values["s3_secret_key"],
        verify=verify,
        config=_CONFIG,
    )
