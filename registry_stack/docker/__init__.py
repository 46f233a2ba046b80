"""The Docker engine: finding or installing it, booting machines in containers, running commands and copying files."""
