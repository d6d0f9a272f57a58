"""The command line, one module a command: each has `add`, which declares its flags, and what they start."""
