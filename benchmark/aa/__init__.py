"""The A/A study: the same arm against itself."""
