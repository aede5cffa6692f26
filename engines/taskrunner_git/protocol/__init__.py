"""The conversation with a git server."""
