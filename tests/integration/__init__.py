"""Redis, registry, proxy and edge from the files inside the cloud-config, before a real Swift and a real upstream."""
