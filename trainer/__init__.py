"""HOW a policy is trained: the reference λ-GRPO (arXiv 2509.21154) and its GRPO control."""
