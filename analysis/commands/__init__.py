"""What `fit` does with each kind of thing that it is given."""
