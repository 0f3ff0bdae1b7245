"""Account: what an exchange leaves behind: figures of its service, PoP and endpoint, and its line in the access log."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Core, Exchange
from gateway.dataplane.http1._head cimport RequestHead
from routing_core._figures cimport RetryOutcome
from routing_core._layout cimport Pool

# An attempt has an endpoint now, or no longer.
cdef void begin_attempt(Core *core, Exchange *exchange) noexcept nogil
cdef void end_attempt(Core *core, Exchange *exchange) noexcept nogil
# It waits in the queue of an endpoint of its pool: under way there as one that has an endpoint. And no longer.
cdef void begin_queueing(Core *core, Exchange *exchange) noexcept nogil
cdef void end_queueing(Core *core, Exchange *exchange) noexcept nogil
# From here on the attempt waits for its endpoint, or for somebody else: a client that dribbles its upload is nobody's queue.
cdef void note_wait(Core *core, Exchange *exchange, bint is_waiting) noexcept nogil
# From here on the exchange goes on for as long as its client likes: it waits for its body, or to be read by it.
cdef void note_hold(Core *core, Exchange *exchange, bint is_held) noexcept nogil
# The attempt ended without an answer, and that was the endpoint's fault. is_connect: there was no connection.
cdef void note_failure(Core *core, Exchange *exchange, bint is_connect) noexcept nogil
# The answer ended before it was whole, and that was the endpoint's fault: its head was counted as an answer.
cdef void note_cut(Core *core, Exchange *exchange) noexcept nogil
# The same of that pool; or nobody in it could be reached.
cdef void note_pool_failure(Core *core, const Exchange *exchange, const Pool *pool) noexcept nogil
# Why the endpoint's answer was not taken, or goes no further: a RejectCause or a BadAnswer.
cdef void note_bad_answer(Core *core, Exchange *exchange, int cause) noexcept nogil
# A head's first byte came from the endpoint of the attempt, and lay here for so long: that is not the endpoint's slowness. The answer's,
# unless that head turns out to be an interim one's: then the next head's counts.
cdef void note_first_byte(Core *core, Exchange *exchange, int64_t lay_us) noexcept nogil
# And now its final head. is_long_lived: the wait for it says nothing about latency. retry_after_ms: what a 429 or a 503 asked for.
cdef void note_answer(Core *core, Exchange *exchange, int status, bint is_long_lived, int64_t retry_after_ms) noexcept nogil
# The client went before its answer: how long it had waited is the least that the endpoint would have taken.
cdef void note_given_up(Core *core, Exchange *exchange) noexcept nogil
# The exchange is a tunnel from now on.
cdef void note_tunnel(Core *core, Exchange *exchange) noexcept nogil
cdef void note_connect(Core *core, Exchange *exchange) noexcept nogil
cdef void count_retry(Core *core, Exchange *exchange, RetryOutcome outcome) noexcept nogil
# A request that has no head to note, when this one is logged.
cdef void note_headless(Core *core, Exchange *exchange) noexcept nogil
# Keeps what the log wants of the request, when this one is logged.
cdef void note_request(Core *core, Exchange *exchange, const char *text, const RequestHead *head, const char *id, unsigned int id_length,
                       const char *trace) noexcept nogil
# The end: figures, log.
cdef void close_account(Core *core, Exchange *exchange) noexcept nogil


cdef struct Record:         # one exchange in the log ring; texts follow, in the order of Texts
    long long ended_us      # monotonic
    long long duration_us
    long long first_byte_us  # after the start; -1: none
    long long bytes_in
    long long bytes_out
    unsigned char client[16]
    unsigned int asn
    unsigned short country
    short reason            # Reason; -1: not decided
    int status
    int attempts
    short cause             # its place in CAUSE_NAMES; 0: no refusal
    short bad_answer        # its place in ANSWER_NAMES; 0: none
    short ended_by          # Side
    unsigned int lengths[9]

cdef enum Texts:
    TEXT_METHOD
    TEXT_HOST
    TEXT_PATH
    TEXT_ID
    TEXT_TRACE
    TEXT_ROUTE
    TEXT_SERVICE
    TEXT_POP
    TEXT_ENDPOINT
    N_RECORD_TEXTS

# As the thread that writes the log has it: by the names of the log's fields; ended_us is of the clock.
cdef dict as_dict(const Record *record)
