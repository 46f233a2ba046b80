"""Redis, registry, proxy and edge on a host with the files of the cloud-config, with a real Swift and upstream."""
