"""The command line of the server. It has no defaults: those are in the settings of the package."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deep_perception.redaction import register
from deep_perception.redaction.tokens import TokenError, check_token, is_shown


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are sampled. Requests with equal sampling and prompt share a batch."""

    temperature: float
    top_p: float
    num_beams: int
    max_tokens: int
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The parsed command line."""

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
    """Parse the command line. End the process with status 2 and a message if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="dam_server", description="The server of the describer dam.", allow_abbrev=False
    )
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int, help="0: any free port, which is logged")
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
    parsed = parser.parse_args(arguments)
    for name, valid in (
        ("port", 0 <= parsed.port <= 65535),
        ("max_batch", parsed.max_batch >= 1),
        ("max_queue", parsed.max_queue >= 1),
        ("max_tokens", 1 <= parsed.max_tokens <= 1024),
        ("temperature", 0 <= parsed.temperature <= 2),
        ("top_p", 0 < parsed.top_p <= 1),
        ("num_beams", 1 <= parsed.num_beams <= 16),
    ):
        if not valid:
            option = "--" + name.replace("_", "-")
            parser.error(f"{option} {getattr(parsed, name)} is out of its range")
    # The variable is removed, so that the code of the checkpoint cannot read the token.
    token = os.environ.pop(parsed.token_env, "")
    register(token)
    variable = parsed.token_env if token or is_shown(parsed.token_env) else "that --token-env names"
    try:
        check_token(token, variable)
    except TokenError as error:
        parser.error(str(error))
    if not token and not is_loopback(parsed.host):
        parser.error(
            f"--host {parsed.host} is open to the network: set the environment variable "
            f"{variable} to a token that clients must send, or use --host 127.0.0.1"
        )
    return Options(
        host=parsed.host,
        port=parsed.port,
        checkpoint=parsed.checkpoint.expanduser().absolute(),
        device=parsed.device,
        precision=parsed.precision,
        max_batch=parsed.max_batch,
        max_queue=parsed.max_queue,
        sampling=Sampling(
            temperature=parsed.temperature,
            top_p=parsed.top_p,
            num_beams=parsed.num_beams,
            max_tokens=parsed.max_tokens,
        ),
        token=token,
        with_parent=parsed.with_parent,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
