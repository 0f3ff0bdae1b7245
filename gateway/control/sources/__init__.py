"""What is known of the world: endpoints of clusters and names, and where clients are."""
