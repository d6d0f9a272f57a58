"""WHETHER it helped: train arms as commands, score every checkpoint, and say what the numbers carry."""
