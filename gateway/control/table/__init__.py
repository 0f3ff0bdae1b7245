"""Configuration and world become a table, and the table is published."""
