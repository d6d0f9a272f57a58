"""Texts: every checkpoint answers every task through lm-eval on one live engine."""
