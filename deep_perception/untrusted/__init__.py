"""The door for data of others: answers of servers, messages, recordings, files, names.

Whoever reads such data limits its size before it is decoded (``bounded.py``, ``json_reader.py``),
and whoever shows a part of it escapes and shortens it (``text.py``). Images have the same limit
everywhere: ``images/pixels.py``.

The package needs the standard library only: the DAM server uses it in its own environment.
"""

from __future__ import annotations


class UntrustedError(ValueError):
    """Data from outside are larger, deeper or of another form than can be accepted."""
