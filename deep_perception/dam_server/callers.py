"""Who may send a request: programs of this machine and those with the token, but no web page.

Without a token the server listens on the loopback only. A browser reaches that too: a web page can
send a form or a text to it from any origin, and a page whose host name resolves to 127.0.0.1 at its
second look-up (DNS rebinding) even reads the answers. No page can change its headers Host and
Origin, or send JSON to another origin without a preflight, which this server does not answer.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from aiohttp import web

from deep_perception.dam_server.errors import RequestError
from deep_perception.dam_server.options import is_loopback
from deep_perception.untrusted.text import printable

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
# What a browser says of a request of a page of this server, and of an address that a user typed.
_OWN_SITES = ("same-origin", "none")


def check_caller(request: web.Request, bound: str, *, with_token: bool) -> None:
    """Raise RequestError for a request that a web page may have sent.

    ``bound``: the host that the server listens on; ``with_token``: whether the request has the
    server's token, which no page knows. Then a server that is open to the network is reached under
    any name.
    """
    if is_loopback(bound) or not with_token:
        _check_host(request, bound)
    origins = request.headers.getall("Origin", [])
    hosts = request.headers.getall("Host", [""])
    for origin in origins:
        if len(origins) > 1 or _netloc(origin) != hosts[0].lower():
            raise RequestError(
                403, "wrong_origin", f"web pages may not use this server: {printable(origin)}"
            )
    site = request.headers.get("Sec-Fetch-Site", "none")
    if request.method == "POST" and site not in _OWN_SITES:
        raise RequestError(403, "wrong_origin", "web pages may not use this server")


def check_content(request: web.Request) -> None:
    """Raise RequestError for a body that is not JSON as it is."""
    if request.content_type != "application/json":
        given = request.headers.get("Content-Type", "missing")
        raise RequestError(
            415,
            "not_json",
            f"Content-Type is {printable(given)}, expected application/json",
        )
    if encoding := request.headers.get("Content-Encoding", ""):
        raise RequestError(
            415, "compressed", f"Content-Encoding is {printable(encoding)}, expected none"
        )


def _check_host(request: web.Request, bound: str) -> None:
    hosts = request.headers.getall("Host", [])
    if not hosts and request.version < (1, 1):
        return  # Programs of the time before Host, and no browser.
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None or not _is_ours(found[1].strip("[]").rstrip("."), bound):
        raise RequestError(
            403,
            "wrong_host",
            f"Host is {printable(', '.join(hosts)) or 'missing'}, which is not a name of this "
            "server: address it as localhost or by its IP address, and let a proxy set Host so",
        )


def _is_ours(name: str, bound: str) -> bool:
    try:
        # An address is no name that a foreign DNS server answers for.
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return name.lower() in ("localhost", bound.lower())


def _netloc(origin: str) -> str:
    """Return host and port of an origin in lower case, "" if it has none ("null")."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
