"""A request becomes an exchange: its route, its attempts, its answer."""
