"""A Docker registry and pull-through cache on one VM: deploys it to OpenStack, or into a container here."""

__version__ = "0.1.0"
