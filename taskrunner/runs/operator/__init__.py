"""What the operator does in a run that goes on: commands beside that of the run, and the input of its own."""
