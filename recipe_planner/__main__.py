"""`python -m recipe_planner plan ...`: the command `recipe`, where the commands are not on the shell's path."""

from recipe_planner.cli import recipe

raise SystemExit(recipe())
