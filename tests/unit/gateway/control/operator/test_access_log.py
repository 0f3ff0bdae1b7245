import asyncio
import errno
import json
import logging
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.operator import access_log as module
from gateway.control.operator.access_log import FIELDS, AccessLog, LogFile, line_of
from gateway.parts import access_log
from tests.unit.gateway.control.helpers import Clock
from tests.unit.gateway.control.operating import gateway_of

# As a worker hands it over.
RECORD = {
    "ended_us": 5_000_000, "client": "198.51.100.7", "method": "GET", "host": "shop.example.com", "path": "/", "status": 200,
    "bytes_in": 0, "bytes_out": 14, "duration_ms": 1.5, "first_byte_ms": None, "route": "shop", "service": "shop", "pop": "nyc",
    "endpoint": "192.0.2.2:80", "reason": "fastest", "attempts": 1, "request_id": "b5", "trace_id": "0e", "country": "US", "asn": None,
    "cause": None, "ended_by": "client",
}  # fmt: skip


class Worker:
    def __init__(self, *records):
        self.records = list(records)

    def read_log(self):
        taken, self.records = self.records, []
        return taken


def test_a_line_has_exactly_the_fields_of_the_contract():
    said = json.loads(line_of(RECORD, 1_700_000_000_123_456 - 5_000_000))
    assert list(said) == list(FIELDS)
    assert said["time"] == "2023-11-14T22:13:20.123Z"
    assert {name: said[name] for name in FIELDS[1:]} == {name: value for name, value in RECORD.items() if name != "ended_us"}


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_one_record_is_one_line_whatever_a_client_sent(text):
    line = line_of({**RECORD, "path": text}, 0)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["path"] == text


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(clock):
    one = LogFile(clock)
    yield one
    one.close()


def test_lines_are_appended_and_a_rotation_is_followed(file, tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"old\n")
    file.follow(path)
    file.write([b"1\n", b"2\n"])
    path.rename(tmp_path / "access.log.1")
    file.write([b"3\n"])  # nobody has looked yet: it goes with the old file, and is not lost
    file.follow(path)
    file.write([b"4\n"])
    assert (tmp_path / "access.log.1").read_bytes() == b"old\n1\n2\n3\n"
    assert path.read_bytes() == b"4\n"
    with path.open("r+b") as copied:  # copytruncate
        copied.truncate(0)
    file.follow(path)
    file.write([b"5\n"])
    assert path.read_bytes() == b"5\n"
    path.unlink()
    file.follow(path)
    file.write([b"6\n"])
    assert path.read_bytes() == b"6\n"
    assert file.dropped == 0


def test_another_path_is_another_file_and_none_is_none(file, tmp_path):
    file.follow(tmp_path / "a")
    file.write([b"1\n"])
    file.follow(tmp_path / "b")
    file.write([b"2\n"])
    file.follow(None)
    file.write([b"3\n"])
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1\n", b"2\n"]
    assert file.dropped == 0


def test_standard_output_stays_open(file, capfd):
    file.follow("-")
    file.write([b"1\n"])
    file.close()
    os.fstat(1)
    assert capfd.readouterr().out == "1\n"


def test_a_full_disk_costs_one_line_and_counted_records(file, clock, caplog, tmp_path):
    file.follow(type(tmp_path)("/dev/full"))
    for _ in range(5):
        file.write([b"1\n", b"2\n"])
        clock.advance(6)
    assert file.dropped == 10
    assert [(record.levelname, record.error) for record in caplog.records] == [("ERROR", os.strerror(errno.ENOSPC))]


def test_a_torn_line_is_ended_before_the_next(file, clock, caplog, tmp_path, monkeypatch):
    caplog.set_level(logging.INFO, "isochrone.access_log")
    path = tmp_path / "access.log"
    file.follow(path)
    real, room = os.write, [7]

    def write(fd, data):
        """A disk with room for 7 bytes."""
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n = real(fd, data[: room[0]])
        room[0] -= n
        return n

    monkeypatch.setattr(module.os, "write", write)
    file.write([b"1111\n", b"2222\n", b"3333\n"])
    assert (path.read_bytes(), file.dropped) == (b"1111\n22", 2)
    file.write([b"4444\n"])  # within the pause after a fault: not even tried
    assert file.dropped == 3
    room[0] = 1000
    clock.advance(6)
    file.write([b"5555\n"])
    assert (path.read_bytes(), file.dropped) == (b"1111\n22\n5555\n", 3)
    assert [record.message for record in caplog.records] == [
        "access log can't be written: records are dropped",
        "access log is written again",
    ]


def test_a_file_that_can_not_be_opened_is_tried_again(file, clock, caplog, tmp_path):
    path = tmp_path / "later" / "access.log"
    for _ in range(3):
        file.follow(path)
        file.write([b"1\n"])
        clock.advance(6)
    assert file.dropped == 3
    assert len(caplog.records) == 1
    path.parent.mkdir()
    file.follow(path)
    file.write([b"2\n"])
    assert path.read_bytes() == b"2\n"


def test_a_pipe_that_nobody_reads_holds_nothing_up(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    file.follow(tmp_path / "pipe")
    file.write([b"1\n"])
    assert file.dropped == 1


def test_standard_output_that_does_not_block_is_waited_for(file, monkeypatch):
    """A pipe is one description for all who have it: another of them may have made it so."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setattr(module, "STDOUT", writer)
    file.follow("-")
    lines = [b"%099d\n" % n for n in range(5000)]
    writing = threading.Thread(target=file.write, args=(lines,))
    writing.start()
    with open(reader, "rb") as pipe:
        assert [pipe.readline() for _ in lines] == lines
    writing.join()
    os.close(writer)
    assert file.dropped == 0


def test_all_workers_are_written_and_the_last_records_too(tmp_path):
    path = tmp_path / "access.log"
    gateway = gateway_of(parts=(lambda one: AccessLog(lambda: one.config, one.workers, interval_s=3600),), access_log=f"{{path: {path}}}")
    gateway.workers.all += [Worker(RECORD), Worker({**RECORD, "client": "192.0.2.9"})]
    (log,) = gateway.parts

    async def scenario():
        await log.start()
        await log.stop()

    asyncio.run(scenario())
    assert [json.loads(line)["client"] for line in path.read_text().splitlines()] == ["198.51.100.7", "192.0.2.9"]
    assert log.dropped == 0


def test_an_access_log_that_is_off_writes_nothing_and_can_be_switched_on(tmp_path, monkeypatch):
    gateway = gateway_of(parts=(access_log,))
    (log,) = gateway.parts
    worker = Worker(RECORD)
    gateway.workers.all.append(worker)
    log.turn()
    assert worker.records == []
    monkeypatch.setattr(gateway.publisher, "config", gateway_of(access_log=f"{{path: {tmp_path}/a}}").config)
    worker.records.append(RECORD)
    log.turn()
    assert len((tmp_path / "a").read_text().splitlines()) == 1
    log.file.close()


def test_a_writer_that_hangs_does_not_hold_the_end(tmp_path, caplog, monkeypatch):
    gateway = gateway_of(parts=(access_log,), access_log=f"{{path: {tmp_path}/a}}")
    (log,) = gateway.parts
    hanging, release = threading.Event(), threading.Event()

    def turn():
        hanging.set()
        release.wait(30)

    monkeypatch.setattr(log, "turn", turn)
    monkeypatch.setattr(log, "interval_s", 0.0)
    monkeypatch.setattr(module, "STOP_S", 0.05)

    async def scenario():
        await log.start()
        assert hanging.wait(30)
        await log.stop()

    asyncio.run(scenario())
    assert "does not end" in caplog.text
    release.set()
    log._thread.join(30)


def test_many_lines_go_in_several_writes_and_none_is_lost(file, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 10)
    file.follow(tmp_path / "a")
    file.write(b"%d\n" % n for n in range(1000))
    assert (tmp_path / "a").read_bytes() == b"".join(b"%d\n" % n for n in range(1000))


def test_a_fault_at_closing_is_told(file, caplog, tmp_path, monkeypatch):
    """A network file system says only then that it had no room."""
    file.follow(tmp_path / "a")
    real = os.close

    def close(fd):
        real(fd)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "close", close)
        file.close()
    assert os.strerror(errno.EDQUOT) in caplog.records[0].error


def test_a_turn_that_fails_is_not_the_last(tmp_path, caplog, monkeypatch):
    gateway = gateway_of(parts=(access_log,), access_log=f"{{path: {tmp_path}/a}}")
    (log,) = gateway.parts
    turns, again = [], threading.Event()

    def turn():
        turns.append(1)
        if len(turns) == 1:
            raise ValueError("why")
        again.set()

    monkeypatch.setattr(log, "turn", turn)
    monkeypatch.setattr(log, "interval_s", 0.0)

    async def scenario():
        await log.start()
        assert again.wait(30)
        await log.stop()

    asyncio.run(scenario())
    assert "why" in caplog.text
