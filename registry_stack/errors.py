"""The errors that a user is meant to read."""


class RegistryStackError(Exception):
    """Something that the user can act on: one clear line that says what, where and what to do."""


class StackFailedError(RegistryStackError):
    """Heat has given up on a stack, which stays as it is until it is updated or deleted."""
