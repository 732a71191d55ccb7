"""The command line of the DAM server, or what is missing to start it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from deep_perception.backends import BackendUnavailable
from deep_perception.checkpoints.catalog import DAM
from deep_perception.checkpoints.record import LOCK, Record, read_lock, same_bytes
from deep_perception.describers.dam.environment import path_of, problem_of, python_of
from deep_perception.redaction.addresses import AddressError, parse_address
from deep_perception.redaction.tokens import TokenError, is_shown, read_token
from deep_perception.settings import DamSettings, DescriberSettings

SERVER = Path(__file__).parents[2] / "dam_server" / "__main__.py"
# At each start, larger files are compared by size, and smaller ones, which include the code that
# the server runs, by checksum. `deep_perception models verify dam` compares all checksums.
READ_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Address:
    """Host and port of the server in the settings."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def address_of(url: str) -> Address:
    """Return host and port of ``describer.dam.url``. Raises BackendUnavailable."""
    try:
        parts = parse_address(url, "describer.dam.url", DamSettings().url, "address of a server")
    except AddressError as error:
        raise BackendUnavailable(str(error)) from None
    return Address(host=parts.host, port=parts.port)


def server_command(settings: DescriberSettings) -> list[str]:
    """Return the command line of the server.

    Raises BackendUnavailable if the environment or the checkpoint is missing or broken; the message
    names the command to run.
    """
    dam = settings.dam
    address = address_of(dam.url)
    try:
        read_token(dam.api_key_env, "describer.dam.api_key_env")
    except TokenError as error:
        raise BackendUnavailable(str(error)) from None
    environment = path_of(dam.environment)
    if problem := problem_of(environment):
        where = (
            "" if dam.environment == DamSettings().environment else f" --environment {environment}"
        )
        raise BackendUnavailable(f"{problem}; run: deep_perception models setup-dam{where}")
    checkpoint = _checkpoint(settings)
    _check(checkpoint)
    options = {
        "host": address.host,
        "port": address.port,
        "checkpoint": checkpoint,
        "device": dam.device,
        "precision": dam.precision,
        "max-batch": dam.max_batch,
        "max-queue": dam.max_queue,
        "max-tokens": dam.max_tokens,
        "temperature": settings.temperature,
        "top-p": dam.top_p,
        "num-beams": dam.num_beams,
        # A token in place of the variable's name would be in the list of processes.
        "token-env": dam.api_key_env if is_shown(dam.api_key_env) else "NO_TOKEN",
    }
    return [
        str(python_of(environment)),
        str(SERVER),
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
    ]


def unchecked_warning(settings: DescriberSettings) -> str:
    """Return a warning for a checkpoint without a record of its download, "" with a record."""
    checkpoint = _checkpoint(settings)
    if (checkpoint / LOCK).exists():
        return ""
    return (
        f"DAM's checkpoint {checkpoint} has no {LOCK}: it is unknown whether its files, which "
        "include code that is run, are the published ones; check them with: "
        f"{_fetch_command(checkpoint)}"
    )


def _checkpoint(settings: DescriberSettings) -> Path:
    return Path(settings.dam.checkpoint).expanduser().absolute()


def _fetch_command(checkpoint: Path) -> str:
    where = checkpoint.parent
    elsewhere = checkpoint.name == DAM.name and where != Path("checkpoints").absolute()
    return "deep_perception models fetch dam" + (f" --folder {where}" if elsewhere else "")


def _check(checkpoint: Path) -> None:
    command = _fetch_command(checkpoint)
    if not (checkpoint / "config.json").is_file():
        raise BackendUnavailable(f"DAM has no checkpoint at {checkpoint}; run: {command}")
    try:
        record = read_lock(checkpoint, DAM)
        broken = _broken(checkpoint, record) if record else ""
    except ValueError:
        broken = f"its {LOCK} is not readable"
    except OSError as error:
        broken = f"it cannot be read ({error.strerror or error})"
    if broken:
        raise BackendUnavailable(f"DAM's checkpoint {checkpoint}: {broken}; run: {command}")


def _broken(checkpoint: Path, record: Record) -> str:
    for file in record.files:
        path = checkpoint / file.name
        if not path.is_file():
            return f"{file.name} is missing"
        if path.stat().st_size != file.size:
            return f"{file.name} has {path.stat().st_size} bytes instead of {file.size}"
        if file.size <= READ_BYTES and not same_bytes(path, file):
            return f"{file.name} has other bytes than were downloaded"
    return ""
