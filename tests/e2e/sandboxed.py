"""Runs one command in network, process and mount namespaces of its own: `python tests/e2e/sandboxed.py COMMAND ARG...`.

Owns the guarantee that a test session leaves nothing behind, however it ends, and the pods' address block. Knows nothing of tests and of
Kubernetes.

How it works, process by process:
- outer (the pid the caller knows) makes the namespaces, forks init, forwards signals to it, and returns its exit status;
- init is process 1 of the new process namespace: when it ends the kernel kills every process in there, and the kernel kills init when outer
  ends in any way (PR_SET_PDEATHSIG), SIGKILL included;
- the command runs as init's child, since process 1 has no default signal handling.

Inside, the only network device is `lo`, and every address of 10.244.0.0/16 is local on it: pods get addresses of their own (an
EndpointSlice refuses loopback), and nothing inside reaches the world or is reached by it. Works as root, or without privileges where user
namespaces are allowed.
Exit status 70: the namespaces could not be made (one line on stderr says why).
"""

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

INSIDE = "ISOCHRONE_SANDBOX"  # set for the command and what it starts
REFUSED = 70  # sysexits.h: EX_SOFTWARE

# linux/sched.h, sys/mount.h, linux/prctl.h, linux/sockios.h, linux/if.h
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
IFF_UP = 1

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raises OSError with the C library's errno when a call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def is_inside() -> bool:
    """Whether this process runs in a sandbox: the pods' block is local here. The variable alone might have been left in a shell."""
    if INSIDE not in os.environ:
        return False
    with socket.socket() as probe:
        try:
            probe.bind(("10.244.255.254", 0))
        except OSError:
            return False
    return True


def enter_namespaces() -> None:
    """Makes the namespaces; the next fork is process 1 of the new process namespace."""
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS
    try:
        check(libc.unshare(flags), "unshare")
    except OSError as refusal:
        if refusal.errno != errno.EPERM:
            raise
        check(libc.unshare(flags | CLONE_NEWUSER), "unshare with a user namespace")
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def mount_proc() -> None:
    """A /proc of this process namespace, seen in this mount namespace only."""
    check(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "mount / private")
    check(libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOEXEC), None), "mount /proc")


def set_up_loopback() -> None:
    """Brings `lo` up and makes the pods' block local: for an address with a prefix on a loopback device the kernel routes the whole prefix
    locally (fib_add_ifaddr in net/ipv4/fib_frontend.c), as 127.0.0.1/8 does for 127.0.0.0/8."""

    def address(text: str) -> bytes:
        return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", struct.unpack_from("H", flags, 16)[0] | IFF_UP))
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s8x", b"lo:pods", address("10.244.0.1")))
        fcntl.ioctl(control, SIOCSIFNETMASK, struct.pack("16s16s8x", b"lo:pods", address("255.255.0.0")))


def forward_to(pid: int) -> None:
    """From now on signals for this process go to `pid`. Ctrl-C needs no forwarding: a terminal sends it to the whole group."""

    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has just ended: wait_for sees that

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def wait_for(pid: int) -> int:
    """Reaps every child until `pid` has ended; its exit status, as a shell gives it."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def fork_with(body: Callable[[], int]) -> int:
    """A child that runs `body` and exits with what it returns; signals arrive only after this process forwards them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    pid = os.fork()
    if pid == 0:
        code = REFUSED
        try:
            code = body()
        except OSError as fault:
            print(f"sandbox: {fault}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    forward_to(pid)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    return pid


def run(command: list[str]) -> int:
    """The command, as init's child, in the signal state that its caller had."""
    for number in (*FORWARDED, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    # Proxies of the machine can't be reached from inside, and nothing inside should want one.
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy") and key != "KUBECONFIG"}
    os.execvpe(command[0], command, environment | {INSIDE: "1"})


def init(command: list[str], outer_alive: int) -> int:
    """Process 1: prepares the namespaces from inside, runs the command, reaps orphans until it has ended."""
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    os.set_blocking(outer_alive, False)
    try:
        os.read(outer_alive, 1)
        return REFUSED  # end of file: outer ended before prctl, so no signal will come
    except BlockingIOError:
        os.close(outer_alive)
    mount_proc()
    set_up_loopback()
    return wait_for(fork_with(lambda: run(command)))


def main(command: list[str]) -> int:
    if not command:
        print("usage: sandboxed.py COMMAND ARG...", file=sys.stderr)
        return 2
    sys.stdout.flush()
    try:
        enter_namespaces()
    except OSError as fault:
        print(f"sandbox: {fault}: run as root, or where unprivileged user namespaces are allowed", file=sys.stderr)
        return REFUSED
    alive, held = os.pipe()  # `held` stays open in this process alone

    def begin() -> int:
        os.close(held)
        return init(command, alive)

    return wait_for(fork_with(begin))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
