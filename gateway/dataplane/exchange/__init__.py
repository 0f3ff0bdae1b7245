"""What an exchange consists of: two flows, their waits, its account."""
