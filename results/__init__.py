"""Committed sweeps, one folder each. `results/reference` holds the bundled laws, which `plan` uses by default."""
