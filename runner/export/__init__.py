"""A trained model in the form that other software loads."""
