"""The contracts between the worker and everything that can be plugged into it: one file each."""
