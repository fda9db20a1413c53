"""Observations and other people's runs as rows."""
