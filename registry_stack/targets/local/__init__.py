"""The local target: the cloud-config, booted by cloud-init and systemd in one container."""
