"""What people look at: pages, maps and tables."""
