"""Sweep files and recipe files, and the trials that follow from them."""
