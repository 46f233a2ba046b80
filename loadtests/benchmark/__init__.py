"""`tox -e benchmark`: our edge beside what else one would deploy, on one machine in one run, and the report."""
