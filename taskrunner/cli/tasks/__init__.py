"""The verbs about tasks, and the files that describe one."""
