"""Location: where a client is, as far as one knows. Filled by geoip, read by the decision."""
from libc.math cimport cos, sin
from libc.stdint cimport int32_t, uint16_t, uint32_t

cdef enum Source:
    UNKNOWN         # no coordinates; country, continent and ASN may be known all the same
    DATABASE
    OVERRIDE        # the operator's word: a prefix, or the gateway's own place for a private client

cdef struct Location:
    double x            # unit vector from the earth's centre; (0, 0, 0) when the place is unknown
    double y
    double z
    float lat           # degrees
    float lon
    float accuracy_km   # radius; 0 when not said
    uint32_t asn        # 0 when unknown
    uint16_t country    # two ASCII letters, first in the high byte; 0 when unknown
    uint16_t continent  # the same: AF AN AS EU NA OC SA
    Source source
    int32_t pin         # index into the table's pins, from 1; 0: none

# The unit vector of a place in degrees, in x, y, z.
cdef inline void unit_vector(double lat, double lon, double *xyz) noexcept nogil:
    cdef double to_radians = 3.141592653589793 / 180.0
    xyz[0] = cos(lat * to_radians) * cos(lon * to_radians)
    xyz[1] = cos(lat * to_radians) * sin(lon * to_radians)
    xyz[2] = sin(lat * to_radians)
