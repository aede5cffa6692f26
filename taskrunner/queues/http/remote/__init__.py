"""The client of the API, on another machine."""
