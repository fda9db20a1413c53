"""What the machines at hand are and can do."""
