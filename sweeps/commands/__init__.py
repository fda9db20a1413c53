"""What `sweep SUBCOMMAND` shows."""
