"""Chunks: the chunked coding, strictly (RFC 9112 7.1).

The bytes are passed on as they came: the machine says how many are sound, where the data lie and where the body ends.
It keeps its place between calls and no byte of the data; it sees no socket.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    MAX_EXTENSION_BYTES = 256       # of one chunk, from ";" on
    MAX_EXCESS_BYTES = 16384        # extensions of a body may be longer than its data by this
    MAX_TRAILER_BYTES = 8192
    MAX_TRAILERS = 32               # of a request, as is the next
    MAX_TRAILER_NAME = 64

cdef enum Step:
    CHUNK_BAD = -1      # *taken bytes are sound, the next is not; so it stays
    CHUNK_NEED = 0      # all of the input is sound and used up; more must come
    CHUNK_DATA = 1      # text[data_at:data_at + data_length] is data, and the last of what was taken; call again
    CHUNK_END = 2       # last chunk and trailers are over; what follows is not looked at; so it stays

cdef struct Chunks:
    int64_t left            # bytes of data still to come in this chunk
    int64_t excess          # bytes of extensions less bytes of data so far, not below 0
    bint is_of_answer       # any well-formed trailer is sound: see drop_trailers. Set behind begin_chunks
    bint is_over_limit      # bad for a limit of ours, not for what was sent
    uint8_t state           # State, of the .pyx
    uint8_t digits          # of the size
    uint16_t extension_bytes
    uint16_t trailer_bytes  # taken, of their lines and the empty one behind them
    uint8_t n_trailers
    uint8_t name_length
    char name[MAX_TRAILER_NAME]     # of the trailer in work, lower case

cdef void begin_chunks(Chunks *chunks) noexcept nogil

# Consumes from text: *taken bytes are sound and used up. Always sets all three results.
cdef Step feed_chunks(Chunks *chunks, const char *text, size_t length, size_t *taken, size_t *data_at,
                      size_t *data_length) noexcept nogil

# Of an answer's trailers, sound and whole, those that may not go down are taken out where they lie; how many bytes are left.
cdef size_t drop_trailers(char *text, size_t length) noexcept nogil
