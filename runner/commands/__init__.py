"""What `embed SUBCOMMAND` does: one file for those that share something."""
