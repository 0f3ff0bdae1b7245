"""The range of each is its caller's to say; `what` says in the error where it stands."""
from libc.stdint cimport int64_t


cdef int64_t whole(object value, int64_t low, int64_t high, str what) except? -1:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what}: must be a whole number from {low} to {high}, got {value!r}")
    return value


cdef double number(object value, double low, double high, str what) except? -1:
    if not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{what}: must be a number from {low:g} to {high:g}, got {value!r}")
    return value


cdef bytes name_bytes(object name, str what, set seen):
    if type(name) is not str or not name:
        raise ValueError(f"{what}: name must be a text of at least one character, got {name!r}")
    if name in seen:
        raise ValueError(f"{what}: names must differ, got {name!r} twice")
    seen.add(name)
    return name.encode()
