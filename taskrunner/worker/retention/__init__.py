"""Retention: what is over is removed from a home after some time, beside workers that run."""
