"""Where trials, claims and observations are kept."""
