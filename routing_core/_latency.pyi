PRIOR: tuple[float, float, float]  # intercept_ms, slope_ms_per_km, abroad_ms: fitted, see docs/latency.md

def great_circle_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """What the decision uses, for tests and explain."""
