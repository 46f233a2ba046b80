"""Reads heat/registry.yaml and evaluates it exactly as Heat does."""
