"""Elsewhere: where an exchange goes next, when its pool has nobody for it. Must not know what an attempt is."""
from gateway.dataplane._core cimport Core, Exchange

# To the next fallback of its decision that is still open. False: there is none.
cdef bint next_fallback(Core *core, Exchange *exchange) noexcept nogil
# The same, or, where they are all spent, to whom it is decided for anew, without those. False: nobody else is there.
cdef bint next_pool(Core *core, Exchange *exchange) noexcept nogil
# In a panic those that refused come last: when none that answers is left, all begins again with whoever there is. False: it has already.
cdef bint heed_nothing(Exchange *exchange) noexcept nogil
