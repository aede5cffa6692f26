"""The engine package; see its platform module."""
