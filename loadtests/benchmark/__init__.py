"""`tox -e benchmark`: compares the mirror with nginx and bare registry proxies on one machine, and writes a report."""
