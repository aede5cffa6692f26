"""What can be read of a task's runs: their logs and their states, in the home of their worker, at the queue or in the
store."""
