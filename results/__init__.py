"""Committed sweeps, and what a paper printed, one folder each. `plan` by default uses the laws of `reference`."""
