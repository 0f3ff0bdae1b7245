"""Head parse: a small head and one as a browser sends it, in loops without Python between. Goals: 0.3 us and 1 us."""

from typing import Any

import pytest

from gateway.dataplane.http1._parsing_testing import parse_many

TIMES = 1000

SMALL = b"GET /hello HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
BROWSER = b"""GET /catalogue/shoes?page=2&sort=price HTTP/1.1
Host: shop.example.com
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-Dest: document
Referer: https://shop.example.com/catalogue
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Cookie: session=3f1b8e7a9c2d4b6f8e0a1c3d5b7f9e2a; theme=dark; pop=fra

""".replace(b"\n", b"\r\n")
RESPONSE = b"""HTTP/1.1 200 OK
Date: Mon, 01 Jan 2024 00:00:00 GMT
Content-Type: text/html; charset=utf-8
Content-Length: 1024
Server: backend

""".replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("text", "is_response"), [(SMALL, False), (BROWSER, False), (RESPONSE, True)], ids=["small", "browser", "response"]
)
def test_parse(benchmark: Any, text: bytes, is_response: bool) -> None:
    """Each round parses TIMES heads: divide by that."""
    benchmark.extra_info["heads_per_round"] = TIMES
    benchmark.extra_info["head_bytes"] = len(text)
    assert benchmark(parse_many, text, TIMES, is_response) == 1
