"""What works on this machine, and how fast: the verbs doctor and benchmark, each a table of checks."""
