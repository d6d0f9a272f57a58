"""WHAT is asked and what counts as right: problems, prompts, the one grader, and the engines that answer."""
