"""Result rows to learning curves, runs to numbers, arms to differences."""
