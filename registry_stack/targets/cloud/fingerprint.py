"""A fingerprint of a stack's inputs, for its tags: everybody in the project can read those, and secrets are among the
inputs."""

import hashlib
import json
from typing import Any


def fingerprint(kind: str, inputs: Any, stack: str) -> str:
    """A tag `kind-…` that changes with the inputs (JSON, or else their text); slow to compute, against guessing."""
    text = json.dumps(inputs, sort_keys=True, default=str).encode()
    return f"{kind}-{hashlib.scrypt(text, salt=stack.encode(), n=1 << 14, r=8, p=1, dklen=16).hex()}"
