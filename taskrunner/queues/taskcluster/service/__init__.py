"""Calls of Taskcluster's services: signed, bounded, and read field by field."""
