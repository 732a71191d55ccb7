"""Descriptions and keys for the tests of the cache of descriptions."""

import asyncio
import dataclasses

from deep_perception.describers.cache.memory import key_of
from deep_perception.regions import Description

CUP = Description(
    status="described", label="cup", text="A cup.", attributes={"color": "rot — 红", "b": "1"},
    describer="chat", model="m", prompt_id="p", latency_s=0.1 + 0.2, truncated=True,
)  # fmt: skip


def key(number):
    return key_of([str(number)], [])


def cup(number):
    return dataclasses.replace(CUP, text=f"A cup, number {number}.")


def run(cache, *steps):
    """Return the results of steps, each with a key and the description that is made for it."""

    async def made(value):
        return value

    async def go():
        try:
            return [await cache.get_or_make(k, lambda v=value: made(v)) for k, value in steps]
        finally:
            await cache.close()

    return asyncio.run(go())
