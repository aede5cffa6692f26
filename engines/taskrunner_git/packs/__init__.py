"""A mirror's packs, and the objects in them."""
