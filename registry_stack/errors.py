"""The one exception a user is meant to read."""


class RegistryStackError(Exception):
    """Something the user can act on: one clear line saying what, where and what to do."""
