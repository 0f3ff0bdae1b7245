"""Remains: what of its table an exchange keeps that goes on for hours, so that each reload does not leave an old table behind it.

Must not know when that is.
"""
from gateway.dataplane._core cimport Core, Exchange

# Lets the snapshot go, and points to copies instead. For a tunnel, or behind an answer's head: no other attempt and no answer of ours come
# after this. Without memory the snapshot is held on. Its settings are the newest ones from then on.
cdef void keep_remains(Core *core, Exchange *exchange) noexcept nogil
cdef void free_remains(Exchange *exchange) noexcept nogil
