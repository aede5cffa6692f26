"""The tree of a commit: its files with their times, what differs between two trees, and the walk through one."""
