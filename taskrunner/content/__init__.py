"""The content of mounts: fetched once for all runs of a home that wait for it, kept in a cache, and sealed."""
