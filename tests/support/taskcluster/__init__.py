"""A queue service of Taskcluster for tests, written from the protocol's facts, over real HTTP with real Hawk."""
