"""The errors of a request, of a batch, and of the whole server."""

from __future__ import annotations

import re

from deep_perception.untrusted.text import REASON, printable

# The folders of an absolute path; its last part, which says what is wrong, is kept.
_FOLDERS = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[\\/](?:[^\\/:*?\"'<>|\r\n]{1,255}[\\/])*")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}


class RequestError(Exception):
    """A request without a description: HTTP status, a code for programs, a message for people."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, dict[str, str]]:
        """Return the JSON body of the response in the form of OpenAI's API."""
        kind = _TYPES.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code}}


class LoadError(RuntimeError):
    """The model cannot be loaded; the message is one line that says what to do."""


class OutOfMemory(RuntimeError):
    """The images of one call do not fit into memory together."""


class DeviceLost(RuntimeError):
    """The GPU does not respond: only a new process can use it again."""


def without_folders(text: str) -> str:
    """Return what a client is told of a failure: one line without the folders of this machine."""
    return printable(_FOLDERS.sub("", " ".join(text.split())), REASON)
