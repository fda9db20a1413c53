"""A sweep while it runs: what comes next, what it takes, what is seen of it."""
