import asyncio
import socket
import threading

import pytest

from k8s import _names
from k8s._names import Names


def test_what_the_system_says():
    (found, *_) = asyncio.run(Names().resolve("127.0.0.1", 6443))
    assert (found["hostname"], found["host"], found["port"], found["family"]) == ("127.0.0.1", "127.0.0.1", 6443, socket.AF_INET)


def test_names_that_nobody_answers_hold_neither_other_clusters_nor_the_end(monkeypatch):
    let_go, asked, real = threading.Event(), [], socket.getaddrinfo

    def hang(host, *more, **named):
        asked.append(host)
        if host.endswith(".invalid"):
            let_go.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(_names, "DEADLINE_S", 0.05)

    async def scenario():
        lost = Names()
        for _ in range(3):  # each time it is tried: one thread is left behind, not three
            with pytest.raises(OSError, match=r"no answer for api1\.invalid in 0\.05 s"):
                await lost.resolve("api1.invalid", 6443)
        for n in range(40):  # more than asyncio has threads
            with pytest.raises(OSError, match="no answer"):
                await Names().resolve(f"api{n}.invalid", 6443)
        monkeypatch.setattr(_names, "DEADLINE_S", 20.0)
        assert (await Names().resolve("localhost", 1))[0]["port"] == 1
        assert asked.count("api1.invalid") == 2

    asyncio.run(scenario())  # which would wait for threads of asyncio's
    let_go.set()


def test_no_such_name_is_an_error_of_the_system(monkeypatch):
    def refuse(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(OSError, match="not known"):
        asyncio.run(Names().resolve("nobody", 1))
