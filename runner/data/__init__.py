"""Text pairs: read, tokenised once, shuffled, counted."""
