"""What a run hands over at its end: artifacts, logs, and the result of its engine."""
