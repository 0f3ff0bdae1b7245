"""This process: its clock, its tasks and threads, its files, and how much it may have."""
