"""Distances without an inverse cosine from the C library: a polynomial costs a quarter and is exact enough."""
from routing_core._location cimport unit_vector


def great_circle_km(double lat1, double lon1, double lat2, double lon2) -> float:
    """What the decision uses, for tests and explain."""
    cdef double a[3]
    cdef double b[3]
    unit_vector(lat1, lon1, a)
    unit_vector(lat2, lon2, b)
    return distance_km(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
