"""Load tests: one file a scenario, run as `locust -f loadtests/NAME.py`."""
