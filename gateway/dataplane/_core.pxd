"""Core: what a worker, a connection, a stream and an exchange consist of. Structs and enums only, no functions.

Ownership stands beside each pointer. All of it belongs to one worker; nothing here is read by another thread but
what the counters, the figures and the ring publish, and what never changes: epoll and wake.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from gateway.dataplane.http1._chunks cimport Chunks
from gateway.dataplane.http1._head cimport RequestHead, ResponseHead
from gateway.dataplane.http1._words cimport Manners, Method
from gateway.dataplane.shared._counters cimport Column, Doors, Stock
from gateway.dataplane.shared._ring cimport Ring
from gateway.dataplane.shared._snapshot cimport MAX_LISTENERS, Board, Snapshot
from gateway.dataplane.shared._tally cimport Tally
from gateway.dataplane.transport._linux cimport epoll_event, iovec
from gateway.dataplane.transport._timers cimport Timer, Wheel
from geoip._cache cimport Cache
from routing_core._decision cimport Asked, Decision, Weighed
from routing_core._shortlists cimport Shortlists
from routing_core._endpoints cimport MAX_TRIED, Heed
from routing_core._figures cimport Crew, EndpointColumn, EndpointGate, EndpointShare
from routing_core._layout cimport Endpoint, Pool, Pop, Route, Service, Target
from routing_core._location cimport Location
from routing_core._random cimport Random

cdef enum:
    SMALL_BYTES = 8192          # a buffer for heads and small bodies
    N_STEPS = 4                 # from one to the next buffers double
    LARGE_BYTES = SMALL_BYTES << (N_STEPS - 1)
    BATCH = 64                  # events a turn
    EVENTS = 512                # that epoll tells at once
    PEER_TEXT = 46              # INET6_ADDRSTRLEN
    N_BLOCKS = 1024             # blocks of upstream pools, by row
    BLOCK_POOLS = 256
    N_HOLDER_SLOTS = 4096
    N_RANKS = 320              # 2 ** 22 connections of one client: see _holders

cdef enum StreamState:
    READING             # downstream: between exchanges, or inside a request's head
    EXCHANGING          # downstream: its exchange is under way
    LINGERING           # downstream: all is said, the client's end is awaited
    CONNECTING          # upstream, with an exchange
    SERVING_UPSTREAM    # upstream, with an exchange
    POOLED              # upstream, without
    DEAD                # freed behind the last event told: one of them may still point here

cdef enum HeldLine:         # of a holder
    CALM                    # nothing is under way
    BEGUN                   # a part of a head has come
    BUSY                    # an exchange
    N_HELD_LINES

cdef struct Spares:         # blocks of one kind that nobody uses; the first bytes of each point to the next one
    void *first             # owned
    int32_t n
    int32_t least           # that there were since the last tick: so many nobody has needed
    int32_t surplus         # of them, buffers still to be given back: some each turn

cdef struct Buffer:
    char *at                # owned; NULL when there is nothing to hold
    uint32_t capacity       # SMALL_BYTES, doubled for each step, up to LARGE_BYTES
    uint32_t begin          # bytes before it are done with
    uint32_t end            # bytes from here on are free

cdef enum:                  # what a transport answers in the place of a number of bytes
    BLOCKED = -1            # none now
    BROKEN = -2             # none any more: the peer is gone

cdef struct Transport:      # a kind of stream, by what can be done with it: see _transport, whose functions these are
    ssize_t (*read)(Stream *stream, char *at, size_t room) noexcept nogil
    ssize_t (*write)(Stream *stream, const iovec *parts, int n, bint has_more) noexcept nogil
    bint (*peek)(const Stream *stream) noexcept nogil
    bint (*has_connected)(const Stream *stream) noexcept nogil
    void (*end)(Stream *stream) noexcept nogil
    int64_t (*unsent)(const Stream *stream) noexcept nogil
    int64_t (*lay_ms)(const Stream *stream) noexcept nogil
    void (*end_with_reset)(Stream *stream) noexcept nogil
    void (*close)(Stream *stream) noexcept nogil

cdef struct Stream:         # a conversation with one peer: what an exchange has on either side. HTTP/1's connection carries one, its own
    Timer timer             # first, so that a Timer * of the wheel is a Stream *; armed until DEAD
    int64_t deadline_ms     # may be later than the timer: then it is armed again when due
    const Transport *transport  # not owned: it outlives all
    Connection *connection  # that carries it, and outlives it
    Exchange *exchange      # not owned by the stream: the exchange names both
    StreamState state
    bint is_readable        # something came, and it has not been read dry
    bint is_writable
    bint is_ending          # the peer's end was seen: read until 0, short reads prove nothing
    bint is_listed          # on one of the worker's lists of those to look at again
    Stream *next_listed
    Buffer input            # what was read and not yet used
    size_t scanned          # of the head in work: see has_end
    # downstream
    bint must_close         # no other exchange comes behind this one
    bint has_head_begun     # bytes of a head came: the deadline is the head's
    uint8_t n_passed        # octets of the empty line before it
    int64_t unread          # LINGERING: bytes that the client's system had not taken when last looked at; 0: not looked at
    # upstream
    UpstreamPool *pool      # whose it is
    Stream *older           # in the pool's ring of those in use
    Stream *newer
    int64_t opened_us
    bint is_apart           # a tunnel's: its connection is not one of those that its pool may have
    bint is_reused          # its connection has served an exchange before this one

cdef struct Connection:     # a descriptor
    Stream own              # HTTP/1's only one
    int fd                  # owned
    uint16_t life           # how many there were in this memory: see heard_of
    Connection *next        # in the pool or the graveyard
    Connection *previous    # in the pool
    # downstream
    Connection *older       # in its listener's ring of those that are idle, by age
    Connection *newer
    int32_t listener        # number
    int32_t n_under_way     # exchanges, on all its streams
    int64_t n_exchanges     # that there were
    int64_t idle_ms         # when it last became so
    int64_t generation      # of the snapshot by which the peer was last looked at: what follows holds for that one, see recognise
    bint is_trusted         # the peer is a trusted hop
    bint is_located
    HeldLine line           # of its holder's
    uint64_t place          # in the tally of connections; 0: none
    Holder *holder          # whose it is; NULL: nobody's who is held to limits
    Connection *held_before     # in that line
    Connection *held_after
    uint8_t peer[16]
    uint8_t peer_length     # of peer_text
    char peer_text[PEER_TEXT]
    Location location       # of the peer
    # upstream
    int64_t lent_in         # while which events were in hand; 0: with a look at its socket. Of a pooled one: came back ahead of its own
    int64_t heard_in        # while which events its own was handled

cdef struct StreamList:     # to be looked at again without an event, those who entered first come first; a stream is on one of them at most
    Stream *first           # not owned
    Stream *last
    int32_t n

cdef struct Listener:       # a worker's side of it
    int fd                  # not owned; -1: none to accept from. Never closed before this worker has forgotten it: see follow_listeners
    int number
    bint is_readable        # the last accept found someone

cdef struct Line:           # of connections, those that entered it first come first; not owned
    Connection *first
    Connection *last

cdef struct Holder:         # a client that has connections to a listener
    Holder *next            # in its slot's chain, or in the free list
    Holder *lower           # in the ring of its rank
    Holder *upper
    uint8_t prefix[16]
    int32_t listener
    int32_t n               # connections
    int64_t held            # in buffers, when that was last asked: see _shortage
    Line lines[<int>N_HELD_LINES]

cdef struct Ranking:        # the holders of one listener
    int top                 # the highest rank that has one
    Holder *first[N_RANKS]

cdef struct Holders:
    uint64_t secret         # of the hash
    Holder *spare           # free list
    Holder *slots[N_HOLDER_SLOTS]
    Ranking rankings[MAX_LISTENERS]

cdef enum Framing:
    NO_BODY
    BY_LENGTH
    BY_CHUNKS
    BY_END                  # until the source ends
    RAW                     # a tunnel

cdef enum Side:             # of an exchange; the order of access_log's names
    NO_SIDE
    CLIENT_SIDE
    UPSTREAM_SIDE
    GATEWAY_SIDE

cdef struct Flow:           # one direction of an exchange
    Buffer head             # composed by us, goes first; begin: sent so far
    Framing framing
    bint is_unchunked       # the framing is taken off: an HTTP/1.0 client
    bint is_whole           # all of the body is in the source's buffer, or past
    bint is_done            # and has been sent
    bint keeps              # sent bytes stay in the source's buffer: the request may be sent again
    int64_t left            # BY_LENGTH: bytes not yet seen
    int64_t limit           # most bytes of body; 0: none
    int64_t bytes           # of body data seen
    Side waits_for          # who is to send, or to take more; a tunnel's flows do not say
    bint has_moved          # a byte, since that was last looked at
    int64_t sent_in         # which turn it last sent something, and how much
    uint32_t n_sent
    bint is_fast            # the last read filled a large buffer: there is more than one turn's share
    int64_t due_ms          # until when
    int64_t waits_since_us
    int64_t waited_us       # for the client, before
    uint32_t ready          # sound bytes at the front of the source's buffer
    Chunks chunks

cdef enum ExchangeState:
    QUEUED                  # waits for a connection to its endpoint
    REACHING                # its upstream connection is being made
    AWAITING                # the request is on its way; nothing of the answer yet
    ANSWERING               # the answer's head is known; it is on its way
    TUNNELLING              # after a 101
    REPLYING                # the gateway's own answer is on its way
    ENDED

cdef struct Note:           # what the access log wants of the request; text in one buffer
    uint32_t method_length
    uint32_t host_length
    uint32_t path_length
    uint32_t id_length
    uint32_t trace_length
    char *text              # owned, SMALL_BYTES; NULL: not logged

cdef struct Remains:        # what who lasts still needs of its table at its end: its own copy, with rows that outlive tables
    Route route
    Target target
    Service service
    Pop pop
    Pool pool
    Endpoint endpoint

cdef struct Exchange:
    Exchange *next          # first, as Spares want it: in the free list, or in an endpoint's queue
    ExchangeState state
    Stream *downstream
    Stream *upstream        # NULL when there is none
    UpstreamPool *queue     # where it is QUEUED
    int32_t queued_row      # of the endpoint at which it waited last
    int64_t queued_ms       # since when, by the clock
    int64_t queued_at_us    # the same, of its latest wait, by the worker's own time
    int64_t queued_as       # its number among those of this worker that waited: the order within a line, also of one millisecond
    int64_t queued_us       # that it waited at endpoints of its pool, before this attempt
    const Snapshot *snapshot    # held; NULL: it has remains instead
    Remains *remains        # owned, texts behind it; what would point into the table points here; NULL: the snapshot is held
    const Route *route      # NULL: not routed
    const Service *service  # in which it counts as in flight, and whose budget its retries draw on; NULL: it goes nowhere
    Asked asked             # what it was decided by; may point into this exchange and its table
    bint is_over_tls        # so the client asked, where a cookie's attributes hang on it
    Decision decision
    const Pool *pool        # of the current attempt
    const Endpoint *endpoint    # NULL between attempts
    const Endpoint *tried_last  # NULL before the first
    int32_t next_fallback
    int32_t n_waits         # that came to nothing in their time
    int32_t n_attempts
    int32_t n_retries
    int32_t n_tried
    int32_t n_refused       # connects that failed: nobody was reached
    int32_t n_refused_before    # when the current pool's turn came: these took none of its tries
    int32_t tried[MAX_TRIED]    # rows not to pick again
    uint32_t passed_by      # bits: of those, where it only lacked a port
    uint32_t refused            # bits: those of them where no connection came about
    Heed heed               # of gates
    bint is_its_turn        # it has waited: it goes before those who come now, and waits on in front
    bint wants_fresh        # no pooled connection: one has just failed
    bint has_lacked         # a descriptor, or a port towards an endpoint: where nobody serves it, that is why
    bint waits_for_port     # nobody else serves it: where it lacks one, it waits
    bint has_raced          # its pooled connection ended as it was used: that took none of its tries
    bint has_sent           # a byte of this attempt has gone up
    bint has_heard          # an interim answer came to this attempt: the endpoint has it
    bint is_waiting         # counted as one for whose answer the endpoint is waited for
    bint is_held            # counted as one that goes on for as long as its client likes
    bint is_up_broken       # the upstream takes no more of the request: it may have answered
    Method method
    Manners manners         # by which it was taken
    int minor               # of the client's HTTP/1
    bint is_upgrade
    bint expects_continue   # and has not been told yet
    bint close_asked        # the client said so
    uint32_t head_at        # in the downstream's buffer: where the request begins,
    uint32_t body_at        # and its body; both lie there for as long as it may be repeated
    int64_t body_length     # by Content-Length; -1
    Flow up
    Flow down
    bint is_upstream_reusable   # by the answer's head
    bint is_long_lived      # the answer, by its head or its service
    bint was_tired          # the upstream, by the client, when it ended: what it had sent before is still passed on
    int32_t status          # answered; 0: none yet
    int32_t cause           # of a refusal, its place in CAUSE_NAMES; 0: it was none
    int32_t bad_answer      # why the endpoint's answer was not taken, its place in ANSWER_NAMES; 0: it was, or there was none
    Side ended_by           # before it was whole
    bint is_logged
    int64_t began_us        # by the clock, which does not stand still with the worker's own time
    int64_t started_us
    int64_t sent_us         # when the request's last byte went up, as far as it did
    int64_t first_byte_us   # of the answer, by the clock; 0: none yet
    int64_t waited_us       # for it, by then
    int64_t lay_us          # how long it lay here
    uint8_t client[16]      # whom it is decided for: the peer, or who a trusted hop says
    int group               # of its network, see group_of; from when it is routed
    uint64_t place          # in the tally of exchanges; 0: none
    Location location
    Note note

cdef struct UpstreamPool:   # a worker's connections to one endpoint
    Connection *idle        # newest first
    Stream *used            # ring of those that have an exchange, tunnels apart: any of them
    UpstreamPool *next_silent   # on the worker's list
    int32_t n_in_vain       # of `used`, still to be told that the endpoint is silent; above 0: it is on the worker's list
    Exchange *first_waiting
    Exchange *last_waiting
    int32_t n_idle          # connections
    int32_t n_used          # streams in the ring
    int32_t n_open          # connections, tunnels apart
    int32_t row
    int32_t n_waiting
    bint lacks_port         # the last connect met no local port that was free towards it
    int64_t raced_ms        # when the last close race began, see is_close_race; 0: none yet
    const EndpointGate *gate
    EndpointShare *share    # of its limits; all workers'
    EndpointColumn *columns

cdef struct Core:
    int epoll               # owned
    int number
    int n_workers
    # The worker's own time: monotonic, less what it was held up for. A pause is nobody's delay: no deadline falls into it.
    int64_t now_us
    int64_t now_ms
    int64_t held_up_us      # in all
    int64_t resumed_us      # its own time, when it last went on
    int64_t apart_us        # since all that had come was seen: what is seen now may have lain for so long
    int64_t stopping        # atomic; written by any thread
    int64_t ticked_ms       # when housekeeping was last done
    int64_t phase           # of the orders: what was last acted on
    int64_t closing_ms      # since when that is CLOSING or later
    Board *board            # of Snapshots
    Column *column          # of Counters, this worker's own
    Crew *crew              # of Figures, all workers'
    Tally *tally            # of Counters, all workers'
    Doors *doors            # of Counters, all workers'
    Stock *stock            # of Counters, all workers'
    const Snapshot *snapshot    # looked at once a turn
    Random rng
    Cache *geo              # owned
    Ring *log               # owned
    int wake                # owned: an eventfd by which others have it turn
    Listener listeners[MAX_LISTENERS]
    int64_t version         # of their orders: what was last acted on
    bint is_accepting
    bint is_shrinking       # since the last tick: a listener has more clients than it may have, and no idle one here to end
    int64_t may_hold        # downstreams, before it is asked again whether others have fewer: see stays
    int accept_limit        # descriptors from here on are not for clients
    int upstream_limit      # nor from here on for upstreams
    Connection *over        # a downstream of such a number all the same: it shows once one is accepted; none is until it has moved
    Connection idle[MAX_LISTENERS]  # heads of the rings of idle downstreams
    Connection lingering[MAX_LISTENERS]     # and of those that linger
    Holders *holders        # owned
    StreamList resumed          # in this turn
    StreamList postponed        # in a later one
    StreamList starved          # when buffers have room for their heads
    int64_t n_turns
    int64_t n_sent              # in this turn, by all flows; with what was read for nobody
    bint is_shared              # this turn: more than one had been put off
    int64_t cut_ms              # when buffers were last taken from those who hold most
    int64_t level               # what a client might have in them then
    Connection *graveyard
    UpstreamPool *pools[N_BLOCKS]           # owned blocks of BLOCK_POOLS, by row
    UpstreamPool *silent    # list of those whose connections in use are to be told
    int64_t n_upstream      # connections
    int64_t n_queued
    int64_t n_ever_queued   # the last number given, see queued_as
    int32_t looks_left      # of this tick, for who waits in a full line to look round: see would_move
    int32_t tended_from     # the row from which the next tick goes round the pools
    Connection *spare_connections   # free lists
    Spares spare_exchanges
    Spares spare_buffers[N_STEPS]
    bint gives_back             # some of these are still to go
    int32_t n_given             # of these, in this turn
    Wheel wheel
    RequestHead request     # scratch of the parser
    ResponseHead response
    Weighed weighed         # scratch of the decision
    Shortlists shortlists
    int64_t told            # how often epoll has told
    int n_events            # that it told last
    int n_handled           # of these
    bint is_crowded         # there may be more of them than it told
    epoll_event events[EVENTS]
