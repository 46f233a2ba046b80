"""Deploys the product: brings the product up somewhere, proves it, and measures it."""

__version__ = "0.1.0"
