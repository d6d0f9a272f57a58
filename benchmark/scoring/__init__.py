"""Texts to grades, grades to result rows: no model."""
