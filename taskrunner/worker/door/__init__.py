"""The door into a running worker: a socket in its home, through which its operator asks and orders."""
