"""`python -m registry_stack`."""

from registry_stack.cli import main

if __name__ == "__main__":
    main()
