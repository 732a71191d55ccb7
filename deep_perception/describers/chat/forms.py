"""The optional parts of a chat request, and which of them to leave out when a server refuses it."""

from __future__ import annotations

import re
from typing import NamedTuple

# How the form of the answer is requested, from the most demanding to the least.
ANSWERS = ("json_schema", "json", "text")
ABOUT_ANSWER = re.compile(r"response_format|json|schema|grammar", re.IGNORECASE)
ABOUT_TTL = re.compile(r"\bttl\b", re.IGNORECASE)
ABOUT_IMAGES = re.compile(
    r"(?:multiple|several|only (?:one|1|a single)|more than|at most|too many|up to|single)"
    r"\b.*\b(?:image|picture)|(?:image|picture)s?\b.*\b(?:multiple|more than|at most|limit|per)\b",
    re.IGNORECASE,
)


class RequestForm(NamedTuple):
    """The optional parts of a request.

    ``answer``: one of ANSWERS; ``scene``: whether the whole image is sent too; ``ttl``: whether
    LM Studio's ``ttl`` is sent.
    """

    answer: str
    scene: bool
    ttl: bool

    def simpler(self, refusal: str) -> RequestForm | None:
        """Return the form to try after a refusal with this text, None if there is none left.

        Each step leaves out what the text is about, else ttl, else the next part of the answer's
        form, else the scene, so that the steps come to an end.
        """
        if self.ttl and ABOUT_TTL.search(refusal):
            return self._replace(ttl=False)
        if self.scene and ABOUT_IMAGES.search(refusal):
            return self._replace(scene=False)
        rest = ANSWERS[ANSWERS.index(self.answer) + 1 :]
        # Only LM Studio knows ttl, and few servers name it when they refuse it.
        if self.ttl and not (rest and ABOUT_ANSWER.search(refusal)):
            return self._replace(ttl=False)
        if rest:
            return self._replace(answer=rest[0])
        if self.scene:
            return RequestForm(ANSWERS[0], False, False)
        return None
