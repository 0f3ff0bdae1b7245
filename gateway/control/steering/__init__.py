"""What the decision reads of each pool, from what was measured: arithmetic over time that is given."""
