"""What to try next towards a goal: beliefs about losses, and the trials that make the coming choice safe."""
