"""A commit as files on disk, with a `.git` beside them."""
