"""Groups of fields of a build, each with its own mistakes. A payload has them; nothing here uses Docker."""
