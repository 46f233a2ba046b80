"""Containers that stand for the machines around a host: a client, an upstream, Swift."""
