"""By inet_pton, which takes one spelling of IPv4 alone: 010.0.0.1 is none."""
from libc.string cimport memcpy

from routing_core._figures cimport Figures
from routing_core._inet cimport AF_INET, AF_INET6, AF_UNIX, htons, inet_pton, sockaddr_in, sockaddr_in6, sockaddr_un
from routing_core._layout cimport Address, Endpoint

cdef enum:
    UNIX_PATH_BYTES = 107       # sun_path less its final NUL


cdef int fill_address(Address *out, str address, object port, object spec) except -1:
    cdef sockaddr_in *v4 = <sockaddr_in *>out.bytes
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *>out.bytes
    cdef sockaddr_un *local = <sockaddr_un *>out.bytes
    cdef bytes text = address.encode()
    if b"\0" in text:
        raise ValueError(f"{spec!r}: address must not have a NUL character")
    if text.startswith(b"/"):
        if len(text) > UNIX_PATH_BYTES:
            raise ValueError(f"{spec!r}: path of a unix socket must have at most {UNIX_PATH_BYTES} bytes, got {len(text)}")
        if port != 0:
            raise ValueError(f"{spec!r}: port of a unix socket must be 0, got {port!r}")
        local.sun_family = AF_UNIX
        memcpy(local.sun_path, <const char *>text, len(text))
        out.length = sizeof(sockaddr_un)
        return 0
    if type(port) is not int or not 1 <= port <= 65535:
        raise ValueError(f"{spec!r}: port must be a whole number from 1 to 65535, got {port!r}")
    if inet_pton(AF_INET, <const char *>text, &v4.sin_addr) == 1:
        v4.sin_family = AF_INET
        v4.sin_port = htons(port)
        out.length = sizeof(sockaddr_in)
        return 0
    if inet_pton(AF_INET6, <const char *>text, &v6.sin6_addr) == 1:
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(port)
        out.length = sizeof(sockaddr_in6)
        return 0
    raise ValueError(f"{spec!r}: address must be an IPv4 or IPv6 address or the /path of a unix socket, got {address!r}")


cdef int fill_endpoint(Endpoint *out, char **text, object spec, bytes name, Figures figures) except -1:
    cdef object weight = spec.weight
    cdef int row = spec.row
    if type(weight) is not int or not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"{spec!r}: weight must be a whole number from 1 to {MAX_WEIGHT}, got {weight!r}")
    fill_address(&out.address, spec.address, spec.port, spec)
    out.name.at = text[0]
    out.name.length = len(name)
    memcpy(text[0], <const char *>name, out.name.length)
    text[0] += out.name.length
    out.row = row
    out.weight = weight
    out.gate = figures.endpoint_gate(row)
    out.columns = figures.endpoint_columns(row)
    return 0
