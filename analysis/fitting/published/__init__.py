"""Laws from what a paper printed: every set of laws that agrees with all its facts is a possible truth."""
