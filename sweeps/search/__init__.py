"""Which trials of a cell are tried: learning rates, and methods that race."""
