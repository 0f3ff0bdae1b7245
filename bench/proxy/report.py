"""What was measured, as a table, as JSON and as a picture. Must not measure anything."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.proxy.load import KINDS, MOST_TAKEN, Round

COLOURS = {
    "nginx": "#7a8794",
    "nginx-today": "#7a8794",
    "haproxy": "#a3adb6",
    "haproxy-64k": "#a3adb6",
    "haproxy-today": "#a3adb6",
    "envoy": "#b9b3c4",
    "aiohttp": "#cfd5da",
    "isochrone": "#2f6fb0",
}
Rounds = Mapping[str, Sequence[Round]]


def summary(rounds: Sequence[Round], base: Sequence[Round] | None) -> dict[str, Any]:
    """Medians over rounds. x_nginx: of the ratios, round by round. The halves of CPU time: of all rounds, for their sample is coarse."""
    cpu = [one.cpu_us for one in rounds]
    n = sum(one.requests for one in rounds)
    user = sum(one.user_us * one.requests for one in rounds) / n
    system = sum(one.system_us * one.requests for one in rounds) / n
    found: dict[str, Any] = {
        "cpu_us": round(statistics.median(cpu), 3),
        "user_us": round(statistics.median(cpu) * user / (user + system or 1.0), 3),
        "system_us": round(statistics.median(cpu) * system / (user + system or 1.0), 3),
        "cpu_us_min": round(min(cpu), 3),
        "cpu_us_max": round(max(cpu), 3),
        "all_us": round(statistics.median(one.all_us for one in rounds), 3),
        "per_s": round(statistics.median(one.per_s for one in rounds), 1),
        "p50_ms": round(statistics.median(one.p50_ms for one in rounds), 3),
        "p99_ms": round(statistics.median(one.p99_ms for one in rounds), 3),
        "rounds": [dataclasses.asdict(one) for one in rounds],
    }
    if base is not None:
        ratios = [one.cpu_us / other.cpu_us for one, other in zip(rounds, base, strict=True)]
        found["x_nginx"], found["x_nginx_range"] = round(statistics.median(ratios), 3), [round(min(ratios), 3), round(max(ratios), 3)]
    return found


def brief(result: Mapping[str, Any]) -> str:
    """What README shows, in Markdown: also the columns in which others are better."""
    proxies = result["proxies"]
    shown = [name for name in ("nginx", "nginx-today", "haproxy", "haproxy-64k", "haproxy-today", "envoy") if name in proxies]
    columns = [
        *(f"{name} {result['versions'][name]}".replace("-today", "") for name in shown),
        "Isochrone",
        "x nginx",
        "x nginx, all rounds",
    ]
    lines = ["| CPU, us | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for kind in KINDS:
        mine = proxies["isochrone"][kind.name]
        cpu = [f"{proxies[name][kind.name]['cpu_us']:.1f}" for name in (*shown, "isochrone")]
        ratios = [f"{mine['x_nginx']:.2f}", "-".join(f"{ratio:.2f}" for ratio in mine["x_nginx_range"])]
        lines.append(f"| {kind.title} | {' | '.join([*cpu, *ratios])} |")
    columns = [*columns[: len(shown) + 1]]
    lines += ["", "| a second; p99 in ms | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for kind in KINDS:
        figures = [f"{proxies[name][kind.name]['per_s']:,.0f}; {proxies[name][kind.name]['p99_ms']:.1f}" for name in (*shown, "isochrone")]
        lines.append(f"| {kind.title} | {' | '.join(figures)} |")
    return "\n".join(lines)


def table(result: Mapping[str, Any]) -> str:
    """For a person, in Markdown."""
    lines: list[str] = []
    for kind in KINDS:
        rate = "MiB/s" if kind.per == "MiB" else "requests/s"
        lines += [f"\n{kind.title}; CPU in us a {kind.per}", ""]
        lines += [f"| proxy | user | sys | CPU | x nginx | rounds | with load and backend | {rate} | p50 ms | p99 ms |"]
        lines += ["| --- |" + " ---: |" * 9]
        for name, proxy in result["proxies"].items():
            one = proxy[kind.name]
            figures = (
                *(f"{one[key]:.2f}" for key in ("user_us", "system_us", "cpu_us")),
                f"{one['x_nginx']:.2f}",
                "-".join(f"{ratio:.2f}" for ratio in one["x_nginx_range"]),
                f"{one['all_us']:.2f}",
                f"{one['per_s']:,.0f}",
                f"{one['p50_ms']:.2f}",
                f"{one['p99_ms']:.2f}",
            )
            lines.append(f"| {name} | {' | '.join(figures)} |")
    taken = [one["taken"] for proxy in result["proxies"].values() for kind in KINDS for one in proxy[kind.name]["rounds"]]
    noisy = sum(one > MOST_TAKEN for one in taken)
    lines.append(f"\n{len(taken)} rounds; in {noisy} of them others had more than {MOST_TAKEN:.0%} of a CPU (largest {max(taken):.0%}).")
    lines += [
        f"\nMemory of a connection that had one request and is idle, over {result['idle_connections']:,} of them",
        "",
        "| proxy | bytes |",
        "| --- | ---: |",
    ]
    lines += [f"| {name} | {proxy['idle_bytes']:,.0f} |" for name, proxy in result["proxies"].items()]
    pair = result["workers"]
    first, second = pair["cpus"]
    ratios = [one["ratio"] for one in pair["rounds"]]
    lines += ["\nIsochrone with two workers, keep-alive; CPU in us a request", "", "| workers | CPU |", "| --- | ---: |"]
    lines += [
        f"| a gateway of one, on CPU {first} | {pair['first_us']:.2f} |",
        f"| another beside it, on CPU {second} | {pair['second_us']:.2f} |",
    ]
    lines += [f"| one gateway of two, on both | {pair['two_us']:.2f} |", ""]
    lines.append(
        f"Two workers of one gateway spend {pair['ratio']:.2f} x ({min(ratios):.2f}-{max(ratios):.2f}) what two gateways of one do."
    )
    return "\n".join(lines)


# --- The picture ---

ROW, BAR, LEFT, WIDTH, FULL = 26, 18, 96, 720, 430
SCALED = ("nginx", "nginx-today", "haproxy", "haproxy-64k", "haproxy-today", "isochrone")


def picture(result: Mapping[str, Any]) -> str:
    """Bars, a panel a measure, what is far off the scale is cut and says its figure."""
    proxies = result["proxies"]
    panels: list[tuple[str, str, dict[str, float], dict[str, float]]] = []  # title, unit, values, multiples of nginx's
    for kind in KINDS:
        values = {name: one[kind.name]["cpu_us"] for name, one in proxies.items()}
        panels.append(
            (f"{kind.title}: CPU, us a {kind.per}", "us", values, {name: one[kind.name]["x_nginx"] for name, one in proxies.items()})
        )
    panels.append(("idle connection: memory", "B", {name: one["idle_bytes"] for name, one in proxies.items()}, {}))
    body: list[str] = []
    y = 16
    for title, unit, values, multiples in panels:
        body.append(f'<text x="12" y="{y + 12}" font-weight="bold">{title}</text>')
        y += 22
        most = 1.15 * max(*(value for name, value in values.items() if name in SCALED), 1.0)
        for name, value in values.items():
            length = min(max(value, 0.0) / most, 1.0) * FULL
            body.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{name}</text>')
            body.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLOURS[name]}"/>')
            if value > most:  # a gap says that the bar is cut
                body.append(f'<path d="M{LEFT + FULL - 30} {y + BAR + 2}l8 -{BAR + 4}" stroke="#fff" stroke-width="5"/>')
            more = f" ({multiples[name]:.2f} x nginx)" if name != "nginx" and name in multiples else ""
            body.append(f'<text x="{LEFT + length + 8:.1f}" y="{y + 14}">{value:,.{0 if value >= 100 else 1}f} {unit}{more}</text>')
            y += ROW
        y += 12
    machine = result["machine"]
    body.append(
        f'<text x="12" y="{y + 8}" fill="#666" font-size="11">median of {result["rounds"]} rounds of {result["seconds"]} s;'
        f" {machine['cpu']}, Linux {result['versions']['kernel']}; {result['time'][:10]}</text>"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 20}" font-family="sans-serif" font-size="13" fill="#222">'
        f'<rect width="{WIDTH}" height="{y + 20}" fill="#fff"/>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"
