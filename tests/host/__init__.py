"""Tests of the booted host, the same for every target."""
