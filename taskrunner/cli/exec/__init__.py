"""`taskrunner exec` and `attach`: a command in a running task, or its own, with the streams of the caller."""
