"""`python -m registry_stack.userdata`: see build.py."""

import sys

from registry_stack.errors import RegistryStackError
from registry_stack.userdata.build import main

if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RegistryStackError as error:
        sys.exit(f"error: {error}")
