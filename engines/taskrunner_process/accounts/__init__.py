"""The user accounts of runs: which one a run gets, and its files, as root or by sudo."""
