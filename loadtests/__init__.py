"""Load tests with locust, one scenario per file: `locust -f loadtests/NAME.py`."""
