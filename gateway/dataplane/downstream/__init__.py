"""Clients' connections: whose they are, how they come, wait and go."""
