"""Where a host is deployed: a container here, the lab, or a cloud."""
