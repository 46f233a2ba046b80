"""Containers that act as the machines around a host: a client, an upstream, Swift."""
