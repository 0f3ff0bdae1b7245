"""What workers share with control and with one another."""
