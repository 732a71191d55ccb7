"""The door for data of others: answers of servers, messages, recordings, files, names.

Whoever reads such data limits its size before it is decoded (``bounded.py``, ``json_reader.py``,
``model_files.py``). Whoever quotes a part of it in a message escapes and shortens it (``text.py``),
and what a model writes about an image becomes one visible line (``words.py``). The limits of images
are in ``images/pixels.py``.

The package needs the standard library only: the DAM server uses it in its own environment.
"""

from __future__ import annotations


class UntrustedError(ValueError):
    """Data from outside are larger, deeper or of another form than can be accepted."""
