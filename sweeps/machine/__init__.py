"""What the machines are and how fast they train."""
