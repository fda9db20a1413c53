"""Evaluation sets in files, and what a model scores on them."""
