"""Processes that train trials, and the launchers that start them."""
