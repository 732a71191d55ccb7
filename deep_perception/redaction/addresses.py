"""The address of a server in a setting: its parts, and the part that may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from deep_perception.redaction import MARK, register

# A short value of another parameter of an address (?stream=false&v=1) is no secret.
_SECRET_PARAMETERS = re.compile("key|token|secret|pass|pwd|sig|auth|code|cred", re.IGNORECASE)
_SHORTEST_SECRET = 8
_OPEN_PARAMETERS = re.compile("(?:api[-_]?)?version|deployment|model", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORTS = {"http": 80, "https": 443}


class AddressError(ValueError):
    """An address cannot be used; the message says why, without its secrets."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """An http address without a slash at its end; ``user`` is None without a name."""

    scheme: str
    host: str
    port: int
    path: str
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port, which a message may contain."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def parse_address(
    text: str, setting: str, expected: str = "http://host:1234/v1", kind: str = "http address"
) -> Address:
    """Return the parts of an address.

    Its name, password and the values of its query are registered as secrets. ``setting`` is named
    in the AddressError that it raises, with an ``expected`` one.
    """
    stripped = _strip(text)
    register_address(text)
    if re.search("[:/]", stripped) and not _SCHEME.match(stripped):
        expected = f"http://{shown(stripped).lstrip('/')}"
    wrong = f"{setting}: {shown(stripped)!r} is no {kind}; expected for example {expected}"
    if not stripped or re.search(r"[\s\x00-\x1f\x7f]", stripped):
        raise AddressError(wrong)
    try:
        parts = urlsplit(stripped)
        host, port = parts.hostname or "", parts.port
        host.encode("ascii" if host.isascii() else "idna")
    except (ValueError, UnicodeError):
        # The message of urlsplit would contain the password.
        raise AddressError(f"{wrong}{_hint(stripped)}") from None
    if parts.scheme not in _PORTS or not host:
        raise AddressError(wrong)
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise AddressError(
            f"{setting}: {shown(stripped)!r} has an @ behind its host{_hint(stripped)}"
        )
    return Address(
        scheme=parts.scheme,
        host=host,
        port=port or _PORTS[parts.scheme],
        path=parts.path.rstrip("/"),
        user=None if parts.username is None else unquote(parts.username),
        password=unquote(parts.password or ""),
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
    )


def shown(text: str) -> str:
    """Return an address, which may be no valid one, without name, password and query."""
    begin, slashes, rest = text.partition("//")
    if not slashes:
        begin, rest = "", text
    if "@" in rest:
        rest = f"{MARK}@{rest.rpartition('@')[2]}"
    return f"{begin}{slashes}{re.split('[?#]', rest)[0]}"


def register_address(text: str) -> None:
    """Register the secrets of an address, which may be no valid one."""
    stripped = _strip(text)
    rest = stripped.partition("//")[2] or stripped
    if "@" in rest:
        # A password with a slash is an error, and a secret all the same.
        userinfo = rest.rpartition("@")[0]
        user, colon, password = userinfo.partition(":")
        for secret in (userinfo, password if colon else user):
            register(secret)
            register(unquote(secret))
    query = rest.partition("?")[2].partition("#")[0]
    as_it_stands = (part.partition("=")[::2] for part in query.split("&"))
    for name, value in (*parse_qsl(query, keep_blank_values=True), *as_it_stands):
        if _SECRET_PARAMETERS.search(name) or (
            len(value) >= _SHORTEST_SECRET and not _OPEN_PARAMETERS.fullmatch(name)
        ):
            register(value)


def _strip(text: str) -> str:
    return text.strip().strip("\"'`<>").strip()


def _hint(text: str) -> str:
    if "@" not in text:
        return ""
    return "; in a name or password write %2F for /, %3F for ?, %23 for #, %40 for @, %5B for ["
