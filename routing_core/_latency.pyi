def great_circle_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """What the decision uses, for tests and explain."""
