"""The cloud-config built from its tree of files, and rendered into user-data as Heat does."""
