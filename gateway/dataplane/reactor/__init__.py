"""A worker's turn, and its end."""
