"""How a server is reached: directly or through a proxy, and with which certificates it is trusted.

The package decides this itself, because HTTP libraries differ in what they send through a proxy,
and because an error must say whose answer it is.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deep_perception.redaction import register
from deep_perception.redaction.addresses import Address, register_address, shown

HOSTS = Path("/etc/hosts")
# Names that lead to this machine or to its own network. A proxy cannot resolve them.
NEARBY = (".localhost", ".local", ".docker.internal", ".containers.internal")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_FOLDERS = ("SSL_CERT_DIR",)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class RoutingError(ValueError):
    """The environment names no usable proxy or certificates; the message has no secrets."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy, and the environment variable that names it."""

    url: str = field(repr=False)
    variable: str

    @property
    def shown(self) -> str:
        """The text that a message may contain."""
        return f"{shown(self.url).replace('***@', '')} ({self.variable})"


def proxy_for(address: Address) -> Proxy | None:
    """Return the proxy for an address, None if it is reached directly.

    This machine and its own network are never reached through a proxy; for any other address,
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count. Raises RoutingError.
    """
    proxies = urllib.request.getproxies()
    for url in proxies.values():
        register_address(url)
    if is_nearby(address.host) or _is_excepted(address, proxies.get("no", "")):
        return None
    scheme = address.scheme if proxies.get(address.scheme) else "all"
    url = proxies.get(scheme, "")
    if not url:
        return None
    proxy = Proxy(url=url if "://" in url else f"http://{url}", variable=_variable(scheme))
    try:
        parts = urlsplit(proxy.url)
        valid = parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise RoutingError(f"{proxy.shown} is no address of a proxy; http://host:3128 is one")
    for secret in (parts.password, None if parts.password else parts.username):
        register(unquote(secret or ""))
    return proxy


def _variable(scheme: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), "system settings")


def is_nearby(host: str) -> bool:
    """Whether a host is this machine or on its link, or a name without a dot."""
    name = host.rstrip(".").lower()
    address = ip_address(name)
    if address is None:
        if "." not in name or name.endswith(NEARBY) or name in _own_names():
            return True
        return any(name in names and _is_near(address) for address, names in _static_names(HOSTS))
    return _is_near(address)


def ip_address(name: str) -> IpAddress | None:
    """Return the address that a host is, also in the short forms of IPv4, None for a name."""
    with suppress(ValueError):
        address = ipaddress.ip_address(name.partition("%")[0].strip("[]"))
        return getattr(address, "ipv4_mapped", None) or address
    if name and set(name) <= set("0123456789abcdefx."):
        with suppress(OSError):
            return ipaddress.IPv4Address(socket.inet_aton(name))
    return None


def _is_near(address: IpAddress) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or _is_own(str(address))
    )


@cache
def _is_own(address: str) -> bool:
    """Whether it is an address of this machine: only such a one can be bound. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False


def _own_names() -> set[str]:
    return {socket.gethostname().lower(), os.uname().nodename.lower()}


def _static_names(hosts: Path) -> list[tuple[IpAddress, set[str]]]:
    """Return the addresses of /etc/hosts with their names; a name server is not asked."""
    found = []
    with suppress(OSError):
        for line in hosts.read_text(encoding="utf-8", errors="replace").splitlines():
            first, *names = line.partition("#")[0].lower().split() or [""]
            if (address := ip_address(first)) is not None:
                found.append((address, set(names)))
    return found


def _is_excepted(address: Address, no_proxy: str) -> bool:
    """Whether NO_PROXY or the system's settings except an address from the proxy.

    Entries are names, which stand for their subdomains too, addresses, networks (10.0.0.0/8),
    each with or without a port, and ``*``.
    """
    host = address.host.rstrip(".").lower()
    number = ip_address(host)
    for entry in filter(None, (part.strip().lower() for part in no_proxy.split(","))):
        if entry == "*":
            return True
        entry = entry.rpartition("://")[2]
        if number is not None and "/" in entry:
            with suppress(ValueError):
                if number in ipaddress.ip_network(entry, strict=False):
                    return True
            continue
        name, port = entry, ""
        if ip_address(entry) is None:
            name, _, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
            if entry.startswith("[") and "]:" in entry:
                name, _, port = entry.rpartition(":")
        if port and port != str(address.port):
            continue
        if number is not None and ip_address(name.strip("[]")) == number:
            return True
        name = name.lstrip("*").lstrip(".")
        if number is None and name and (host == name or host.endswith(f".{name}")):
            return True
    # Windows and macOS have such a list in their settings.
    return ":" not in host and not no_proxy and bool(urllib.request.proxy_bypass(host))


def certificates() -> ssl.SSLContext | None:
    """Return a context with the certificates that the environment names, None if it names none.

    SSL_CERT_FILE, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, the first that is set, name a file or a
    folder; SSL_CERT_DIR names folders. They replace the certificates of the system, as for OpenSSL.
    Raises RoutingError.
    """
    places = [(name, value) for name in _FILES if (value := os.environ.get(name, ""))][:1]
    for name in _FOLDERS:
        folders = os.environ.get(name, "").split(os.pathsep)
        places += [(name, folder) for folder in folders if folder]
    if not places:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, place in places:
        path = Path(place).expanduser()
        if not path.exists():
            raise RoutingError(f"{name}: there is no {place}; it expects a file of certificates")
        try:
            if path.is_dir():
                context.load_verify_locations(capath=str(path))
                _load_unhashed(context, path)
            else:
                context.load_verify_locations(cafile=str(path))
        except (OSError, ssl.SSLError):
            raise RoutingError(
                f"{name}: {place} is no readable file of certificates in PEM format "
                "(-----BEGIN CERTIFICATE-----)"
            ) from None
    return context


def _load_unhashed(context: ssl.SSLContext, folder: Path) -> None:
    """Load the certificates of a folder that OpenSSL would not find by the hashes of its names."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".pem", ".crt", ".cer"):
            with suppress(OSError, ssl.SSLError):  # One file that is none does not matter.
                context.load_verify_locations(cafile=str(path))
