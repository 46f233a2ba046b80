"""A Docker engine, machines in containers on it, and commands, files and ports of theirs."""
