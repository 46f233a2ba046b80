"""The registry API for every client of the tests: requests (tests/support/oci.py), locust, and the benchmark's threads.

Standard library only: the benchmark copies this package into a client machine that has nothing but Python.
"""
