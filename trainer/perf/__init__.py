"""How long a step takes, measured side by side with trainers that we did not write."""
