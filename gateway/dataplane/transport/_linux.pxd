"""Linux: the system calls and constants that Cython does not ship."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum: EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLERR, EPOLLHUP, EPOLLET, EPOLLEXCLUSIVE
    int epoll_create1(int flags) noexcept
    int epoll_ctl(int epoll, int op, int fd, epoll_event *event) noexcept
    int epoll_wait(int epoll, epoll_event *events, int size, int timeout_ms) noexcept

cdef extern from "<poll.h>" nogil:
    enum: POLLIN
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long n, int timeout_ms) noexcept

cdef extern from "<sys/eventfd.h>" nogil:
    enum: EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int value, int flags) noexcept

cdef extern from "<sys/prctl.h>" nogil:
    enum: PR_SET_NAME
    int prctl(int option, const char *name) noexcept

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, IPPROTO_TCP, TCP_NODELAY, SOL_SOCKET, SO_ERROR, SO_LINGER
    enum: IPPROTO_IP, IPPROTO_IPV6
    enum: MSG_NOSIGNAL, MSG_MORE, MSG_PEEK, MSG_DONTWAIT, SHUT_WR
    struct linger:
        int l_onoff
        int l_linger
    struct sockaddr:
        uint16_t sa_family
    struct sockaddr_storage:
        uint16_t ss_family
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    int socket(int domain, int type, int protocol) noexcept
    int connect(int fd, const sockaddr *address, uint32_t size) noexcept
    int accept4(int fd, sockaddr *address, uint32_t *size, int flags) noexcept
    int getsockname(int fd, sockaddr *address, uint32_t *size) noexcept
    int setsockopt(int fd, int level, int name, const void *value, uint32_t size) noexcept
    int getsockopt(int fd, int level, int name, void *value, uint32_t *size) noexcept
    int shutdown(int fd, int how) noexcept
    ssize_t recv(int fd, void *data, size_t size, int flags) noexcept
    ssize_t send(int fd, const void *data, size_t size, int flags) noexcept
    ssize_t sendmsg(int fd, const msghdr *message, int flags) noexcept

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int *value) noexcept

cdef extern from "<linux/sockios.h>" nogil:
    enum: SIOCOUTQ

cdef extern from "<netinet/tcp.h>" nogil:
    enum: TCP_INFO
    struct tcp_info:
        uint32_t tcpi_last_data_recv     # ms ago

cdef extern from "<netinet/in.h>" nogil:
    enum: IP_MINTTL, IPV6_MINHOPCOUNT
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t ntohs(uint16_t port) noexcept
