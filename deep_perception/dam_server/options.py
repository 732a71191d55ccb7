"""The command line of the server. There are no defaults here: they are in settings.py."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How words are drawn. Requests of equal sampling and prompt are described together."""

    temperature: float
    top_p: float
    num_beams: int
    max_tokens: int
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    host: str
    port: int
    checkpoint: Path
    device: str
    precision: str
    max_batch: int
    max_queue: int
    sampling: Sampling
    token: str = field(repr=False)
    with_parent: bool


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line. Ends the process (status 2) with a message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="dam_server", description="The server of the describer dam.", allow_abbrev=False
    )
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int, help="0: any free one, named in the log")
    parser.add_argument("--checkpoint", required=True, type=Path, help="DAM-3B-Self-Contained")
    parser.add_argument("--device", required=True, choices=("cuda", "cpu"))
    parser.add_argument("--precision", required=True, choices=("fp16", "8bit", "4bit"))
    parser.add_argument("--max-batch", required=True, type=int)
    parser.add_argument("--max-queue", required=True, type=int)
    parser.add_argument("--max-tokens", required=True, type=int)
    parser.add_argument("--temperature", required=True, type=float)
    parser.add_argument("--top-p", required=True, type=float)
    parser.add_argument("--num-beams", required=True, type=int)
    parser.add_argument(
        "--token-env", required=True, metavar="NAME", help="the variable that holds the API token"
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input is closed"
    )
    given = parser.parse_args(arguments)
    for name, good in (
        ("port", 0 <= given.port <= 65535),
        ("max_batch", given.max_batch >= 1),
        ("max_queue", given.max_queue >= 1),
        ("max_tokens", 1 <= given.max_tokens <= 1024),
        ("temperature", 0 <= given.temperature <= 2),
        ("top_p", 0 < given.top_p <= 1),
        ("num_beams", 1 <= given.num_beams <= 16),
    ):
        if not good:
            option = "--" + name.replace("_", "-")
            parser.error(f"{option} {getattr(given, name)} is out of its range")
    # Taken out: the checkpoint's own code has no business with it.
    token = os.environ.pop(given.token_env, "")
    if not token and not _is_loopback(given.host):
        parser.error(
            f"--host {given.host} is open to the network: set the environment variable "
            f"{given.token_env} to a token that clients must send, or use --host 127.0.0.1"
        )
    return Options(
        host=given.host,
        port=given.port,
        checkpoint=given.checkpoint.expanduser().absolute(),
        device=given.device,
        precision=given.precision,
        max_batch=given.max_batch,
        max_queue=given.max_queue,
        sampling=Sampling(
            temperature=given.temperature,
            top_p=given.top_p,
            num_beams=given.num_beams,
            max_tokens=given.max_tokens,
        ),
        token=token,
        with_parent=given.with_parent,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
