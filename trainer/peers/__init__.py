"""Trainers that we did not write, as arms: each takes our recipe and leaves our run folder."""
