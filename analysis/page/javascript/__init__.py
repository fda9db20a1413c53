"""A part of Python as JavaScript: what the page needs to run the planner."""
