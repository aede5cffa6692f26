"""The standalone host."""
