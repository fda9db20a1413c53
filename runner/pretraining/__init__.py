"""Small language models to tune, from text."""
