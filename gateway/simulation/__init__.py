"""Where the world's clients would go."""
