"""Text pairs: reading them from anywhere, counting them; the standard library alone."""
