"""Which user of this machine listens at a port, as Linux tells in ``/proc/net``.

Whoever listens first at the address of a managed server would get its token and the pictures.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_LISTENING = "0A"


def foreign_user(host: str, port: int) -> int | None:
    """Return the id of a user who listens at an address and is neither this one nor root.

    None if there is no such user, or if the system does not tell.
    """
    if os.name == "nt":
        return None
    ours = (os.geteuid(), 0)
    for address, user in _listeners(port):
        if user not in ours and _reaches(address, host):
            return user
    return None


def _listeners(port: int) -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, _, _, _, user, *_ = line.split()
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                yield _parse(address), int(user)


def _parse(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address, which is shown as 32-bit numbers in the byte order of the machine."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    data = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(data)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _reaches(listener: ipaddress.IPv4Address | ipaddress.IPv6Address, host: str) -> bool:
    """Whether a connection to a host of the loopback may reach a listener."""
    if listener.is_unspecified:
        return True
    try:
        return listener == ipaddress.ip_address(host)
    except ValueError:
        return listener.is_loopback  # localhost
