"""How fast the benchmark's own stages are."""
