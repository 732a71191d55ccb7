"""The optional parts of a chat request, and which of them to leave out when a server refuses it."""

from __future__ import annotations

import re
from typing import NamedTuple

from deep_perception.describers.server.refused_requests import allowed_tokens, is_about_context

# How the form of the answer is requested, from the most demanding to the least.
ANSWERS = ("json_schema", "json", "text")
# The names of the limit of tokens: the usual one, that of OpenAI's newer models, and none.
LIMITS = ("max_tokens", "max_completion_tokens", "")
# What servers call it when they refuse it, whatever its name in the request was.
ABOUT_LIMIT = re.compile(
    r"(?<![\w-])(?:max_(?:completion_|new_|output_)?tokens|maxOutputTokens)(?![\w-])", re.IGNORECASE
)
# A shorter answer than this describes nothing.
FEWEST_TOKENS = 32
ABOUT_ANSWER = re.compile(
    r"response_format|json|schema|grammar|structured|guided|constrain|\bstrict\b|"
    r"additionalProperties|max(?:Length|Items)",
    re.IGNORECASE,
)
ABOUT_PARAMETERS = re.compile(
    r"param|argument|\bfields?\b|option|propert|unsupported|unknown|unrecogni|extra",
    re.IGNORECASE,
)
ABOUT_IMAGES = re.compile(
    r"(?:multiple|several|only (?:one|1|a single)|more than|at most|too many|up to|single)"
    r"\b.*\b(?:image|picture)|(?:image|picture)s?\b.*\b(?:multiple|more than|at most|limit|per)\b",
    re.IGNORECASE,
)
ONLY_STREAMS = re.compile(
    r"(?:only|must|require|enable|need)\w*\b.{0,40}\bstream|stream\w*\b.{0,40}\b(?:required|must "
    r"be (?:true|enabled|set)|only)",
    re.IGNORECASE,
)


class RequestForm(NamedTuple):
    """The optional parts of a request.

    ``answer``: one of ANSWERS; ``scene``: whether the whole image is sent too; ``ttl``: whether
    LM Studio's ``ttl`` is sent; ``limit``: the name of the limit of tokens, one of LIMITS;
    ``tokens``: that limit; ``temperature``: whether a temperature is sent; ``stream``: the value
    of ``stream``, None to leave it out.
    """

    answer: str
    scene: bool
    ttl: bool
    tokens: int
    limit: str = LIMITS[0]
    temperature: bool = True
    stream: bool | None = False

    def without_named(self, refusal: str) -> RequestForm | None:
        """Return the form without the part that a refusal names, None if it names none of them.

        Such a part is refused for every image, so the form is the server's from then on.
        """
        if self.ttl and _names("ttl", refusal):
            return self._replace(ttl=False)
        if self.temperature and _names("temperature", refusal):
            return self._replace(temperature=False)
        if ONLY_STREAMS.search(refusal) and self.stream is not True:
            return self._replace(stream=True)
        if _names("stream", refusal) and self.stream is False and not is_about_context(refusal):
            return self._replace(stream=None)
        if self.limit and (is_about_context(refusal) or ABOUT_LIMIT.search(refusal)):
            tokens = allowed_tokens(refusal)
            if tokens is not None and FEWEST_TOKENS <= tokens < self.tokens:
                return self._replace(tokens=tokens)
            if not is_about_context(refusal):
                return self._replace(limit=LIMITS[LIMITS.index(self.limit) + 1])
        if self.scene and ABOUT_IMAGES.search(refusal):
            return self._replace(scene=False)
        return None

    def simpler(self, refusal: str) -> RequestForm | None:
        """Return the form to try after a refusal with this text, None if there is none left.

        Each step leaves out what the text names, else ttl, else the next part of the answer's
        form, else the scene, so that the steps come to an end.
        """
        named = self.without_named(refusal)
        if named is not None:
            return named
        if is_about_context(refusal):
            return self._replace(scene=False) if self.scene else None
        rest = ANSWERS[ANSWERS.index(self.answer) + 1 :]
        # Only LM Studio knows ttl, and few servers name it when they refuse it.
        if self.ttl and not (rest and ABOUT_ANSWER.search(refusal)):
            return self._replace(ttl=False)
        if rest:
            return self._replace(answer=rest[0])
        if self.scene:
            return self._replace(answer=ANSWERS[0], scene=False, ttl=False)
        return None

    def bare(self, refusal: str) -> RequestForm | None:
        """Return the form without all that a server may not know, None if it is without it.

        It is for a server that has accepted nothing yet and refuses a parameter without its name.
        """
        if not ABOUT_PARAMETERS.search(refusal) or not (
            self.temperature or self.limit or self.ttl or self.stream is not None
        ):
            return None
        return self._replace(answer=ANSWERS[0], temperature=False, limit="", ttl=False, stream=None)


def _names(parameter: str, refusal: str) -> bool:
    return re.search(rf"(?<![\w-]){parameter}(?![\w-])", refusal, re.IGNORECASE) is not None
