"""Serving the HTTP handlers of a worker to one run, within limits. The engines say where it listens."""
