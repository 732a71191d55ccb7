"""Describers: from a region to its description."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region

REGISTRY = {
    "attributes": "deep_perception.describers.attributes:Attributes",
    "chat": "deep_perception.describers.chat:Chat",
    "dam": "deep_perception.describers.dam:Dam",
}


class Describer(Protocol):
    """The members that every describer has.

    A describer may also implement any of the optional protocols below. They are recognised by
    ``isinstance``, so a class needs the members only and does not have to inherit from them.
    """

    name: str
    model: str
    """The model that is used, "" if there is none."""

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description] | None]:
        """Yield the description of each region of a source image (HxWx3 uint8 BGR) as it is ready.

        This is called in a thread of the scene. The sweep may still be running: iterating over
        ``regions`` returns the largest region that waits, or blocks until the next one is found.
        A region that cannot be described gets a description with status ``failed`` and an
        ``error``; no exception is raised for a single region. A describer that waits for something
        yields None now and then, because only then can the caller close the iterator to cancel.
        """
        ...

    def close(self) -> None:
        """Release memory, threads and connections."""
        ...


@runtime_checkable
class SupportsAvailability(Protocol):
    """A describer that may be unable to describe for a while, for example without its server.

    Regions that the fallback described are described again only while it is available. A describer
    without this member is always available.
    """

    @property
    def available(self) -> bool:
        """Whether the describer itself, and not its fallback, would describe a region now.

        It is read in the thread of the analysis, before regions are described again.
        """
        ...


def is_available(describer: Describer) -> bool:
    """Return whether a describer itself, and not its fallback, would describe a region now."""
    return not isinstance(describer, SupportsAvailability) or describer.available


@runtime_checkable
class SupportsConcurrentImages(Protocol):
    """A describer that can describe several images at once, each in a thread of its own.

    A live node then asks about a new view while answers about the one before are on their way.
    """

    concurrent_images: bool
    """Whether ``describe`` may be called while an earlier iterator of it is not at its end."""


def describes_concurrently(describer: Describer) -> bool:
    """Return whether a describer can describe several images at once."""
    return isinstance(describer, SupportsConcurrentImages) and describer.concurrent_images


@runtime_checkable
class SupportsInstantDescriptions(Protocol):
    """A describer that is so quick that a live node waits for it before it publishes a scene.

    The scenes of any other describer are published as soon as they are swept, and again with the
    descriptions.
    """

    instant: bool
    """Whether the descriptions of a scene take no longer than its sweep."""


def describes_instantly(describer: Describer) -> bool:
    """Return whether a live node waits for the descriptions before it publishes a scene."""
    return isinstance(describer, SupportsInstantDescriptions) and describer.instant


@runtime_checkable
class SupportsLoading(Protocol):
    """A describer whose model is loaded in the background, for example by a server."""

    @property
    def loading(self) -> bool:
        """Whether the model is being loaded.

        The worker of the node reads it in its own thread: it does not unload idle models meanwhile.
        """
        ...


@runtime_checkable
class SupportsGetReady(Protocol):
    """A describer that can wait until its model is loaded."""

    def get_ready(self, info: Callable[[str], object]) -> None:
        """Block until the model is loaded, or cannot be loaded, or takes too long.

        The command line and the replay call it once before the first image, in the thread that
        analyzes. A node does not call it: a camera does not wait. ``info`` gets one line of text,
        in any thread, if there is something to wait for.
        """
        ...


@runtime_checkable
class SupportsPromptId(Protocol):
    """A describer that sends a prompt to a model."""

    @property
    def prompt_id(self) -> str:
        """A short text that is the same for the same prompt.

        The replay reads it before its first scene, and resumes only with the same prompt.
        """
        ...


@runtime_checkable
class SupportsWarnings(Protocol):
    """A describer whose problems change while it runs."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not work now, one sentence each.

        Each scene reads it at its end in the thread of the analysis, and the diagnostics read it
        once a second in a thread of the node: it must be safe to read from any thread.
        """
        ...


@runtime_checkable
class SupportsStatistics(Protocol):
    """A describer that counts what it does."""

    @property
    def statistics(self) -> Mapping[str, int]:
        """Counts since the start by name.

        The diagnostics read them in a thread of the node, and the replay for its progress and its
        summary: it must be safe to read them from any thread. The replay knows ``regions_asked``
        and ``cache_hits``.
        """
        ...
