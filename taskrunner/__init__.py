"""A task worker that you can read."""
