"""Parts: what stands beside the data plane, and whom of the gateway each of them is given. No logic.

Gateway(config, load, parts=(logs, access_log, status, admin))
"""

from __future__ import annotations

from gateway.app import Gateway
from gateway.control.operator.access_log import AccessLog
from gateway.control.operator.admin import Admin, Answers
from gateway.control.operator.draining import DrainAnswers
from gateway.control.operator.logs import Logs
from gateway.control.operator.pools import Pools
from gateway.control.operator.status import Status, StatusAnswers
from gateway.control.operator.telemetry import Telemetry


def logs(gateway: Gateway) -> Logs:
    return Logs(gateway.reloader, gateway.tasks)


def access_log(gateway: Gateway) -> AccessLog:
    return AccessLog(lambda: gateway.config, gateway.workers)


def status(gateway: Gateway) -> Status:
    config = gateway.config.status
    return Status(_status_answers(gateway), None if config is None else config.bind, gateway.inherited, gateway.own)


def admin(gateway: Gateway) -> Admin:
    pools = pools_of(gateway)
    answers = Answers(pools, gateway.reloader, gateway.tasks)
    drains = DrainAnswers(gateway.lifecycle, gateway.workers, pools)
    routes = [*_status_answers(gateway).routes(), *answers.routes(), *drains.routes()]
    return Admin(routes, gateway.config.admin, gateway.inherited, gateway.own)


def pools_of(gateway: Gateway) -> Pools:
    return Pools(
        publisher=gateway.publisher,
        sources=gateway.sources,
        ejections=gateway.ejections,
        refresh=gateway.refresh,
        drains=gateway.drains,
    )


def telemetry_of(gateway: Gateway) -> Telemetry:
    return Telemetry(
        pools=pools_of(gateway),
        counters=gateway.counters,
        listeners=gateway.listeners,
        ready=gateway.ready,
        reloader=gateway.reloader,
        n_unwritten=lambda: sum(part.dropped for part in gateway.parts if isinstance(part, AccessLog)),
    )


def _status_answers(gateway: Gateway) -> StatusAnswers:
    return StatusAnswers(telemetry_of(gateway), gateway.ready, gateway.tasks)
