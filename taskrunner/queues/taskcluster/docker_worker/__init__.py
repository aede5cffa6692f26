"""Tasks in the form of docker-worker, from their authors to this project and back."""
