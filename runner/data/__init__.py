"""Text pairs: tokenised once, shuffled, counted."""
