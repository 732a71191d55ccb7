"""What a chat server is sent with the question, and what is left out when it refuses that."""

from __future__ import annotations

import re
from typing import NamedTuple

# How an answer's form is asked for, from the most to the least that a server must be able to do.
ANSWERS = ("json_schema", "json", "text")
ABOUT_ANSWER = re.compile(r"response_format|json|schema|grammar", re.IGNORECASE)
ABOUT_TTL = re.compile(r"\bttl\b", re.IGNORECASE)
ABOUT_PICTURES = re.compile(
    r"(?:multiple|several|only (?:one|1|a single)|more than|at most|too many|up to|single)"
    r"\b.*\b(?:image|picture)|(?:image|picture)s?\b.*\b(?:multiple|more than|at most|limit|per)\b",
    re.IGNORECASE,
)


class Form(NamedTuple):
    """The answer's form, whether the whole scene is shown too, whether LM Studio's ttl is sent."""

    answer: str
    scene: bool
    ttl: bool

    def simpler(self, refusal: str) -> Form | None:
        """What to try next after a refusal that says this; None when there is nothing left.

        Every step gives something up, so that it ends: the scene, else ttl, else the answer's form.
        """
        if self.ttl and ABOUT_TTL.search(refusal):
            return self._replace(ttl=False)
        if self.scene and ABOUT_PICTURES.search(refusal):
            return self._replace(scene=False)
        rest = ANSWERS[ANSWERS.index(self.answer) + 1 :]
        # Only LM Studio knows ttl; where it is refused, few say so as clearly as that.
        if self.ttl and not (rest and ABOUT_ANSWER.search(refusal)):
            return self._replace(ttl=False)
        if rest:
            return self._replace(answer=rest[0])
        if self.scene:
            return Form(ANSWERS[0], False, False)
        return None
