"""How long scoring takes: engines against the lm_eval command, aggregation of many rows."""
