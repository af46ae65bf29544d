"""A run's directory: whole files, weights and where they came from."""
