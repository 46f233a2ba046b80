"""What tells one set of inputs from another in a stack's tags, which are for all to see though secrets are among the
inputs."""

import hashlib
import json
from typing import Any


def fingerprint(kind: str, inputs: Any, stack: str) -> str:
    """A tag `kind-…` that changes with the inputs (what JSON can hold, else its text). Slow to compute on purpose."""
    text = json.dumps(inputs, sort_keys=True, default=str).encode()
    return f"{kind}-{hashlib.scrypt(text, salt=stack.encode(), n=1 << 14, r=8, p=1, dklen=16).hex()}"
