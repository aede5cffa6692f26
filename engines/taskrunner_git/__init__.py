"""Where a build context comes from: a commit, straight from git's pack."""
