"""The objects of a repository: the packs that hold them, and how a mirror keeps these."""
