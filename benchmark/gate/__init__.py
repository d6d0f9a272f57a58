"""The regression gate: does a change of the trainer cost learning? docs/gate.md."""
