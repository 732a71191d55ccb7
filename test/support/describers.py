"""Describers that answer like servers: in any order, after any time, with varying spellings.

They raise the audit events ``test.scene`` and ``test.description``, at which a test can interrupt
their process (``support.interruption``).
"""

import hashlib
import os
import queue
import random
import sys
import threading
import time

from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description

SPELLINGS = ("coffee mug", "Coffee-mug", "the coffee mug", "COFFEE MUG")


class Jumbled:
    """The description of a region is always the same, but descriptions arrive in any order."""

    name = "jumbled"
    model = ""

    def describe(self, image, regions):
        sys.audit("test.scene")
        answers = queue.SimpleQueue()
        threads = []
        for region in regions:
            threads.append(threading.Thread(target=self._answer, args=(region, answers)))
            threads[-1].start()
        for _ in threads:
            answer = answers.get()
            sys.audit("test.description")
            yield answer
        for thread in threads:
            thread.join()

    def _answer(self, region, answers):
        time.sleep(random.uniform(0, 0.03))
        answers.put((region, self.describe_region(region)))

    def describe_region(self, region):
        number = int(hashlib.sha256(region.rle.counts.encode()).hexdigest(), 16)
        return self.description(
            SPELLINGS[number % len(SPELLINGS)], f"It is number {number % 1000}."
        )

    def description(self, label, text):
        return Description(status="described", label=label, text=text, describer=self.name)

    def close(self):
        pass


class Moody(Jumbled):
    """No two descriptions are the same, not even of the same region."""

    name = "moody"

    def describe_region(self, region):
        return self.description(random.choice(SPELLINGS), f"I feel like {random.random()}.")


class Steady(Jumbled):
    """Answers in order and at once, and always the same."""

    name = "steady"
    model = os.environ.get("STEADY_MODEL", "")

    def describe(self, image, regions):
        sys.audit("test.scene")
        for region in regions:
            sys.audit("test.description")
            yield region, self.describe_region(region)


class Slow(Steady):
    """Takes its time for every region."""

    def describe(self, image, regions):
        for item in super().describe(image, regions):
            time.sleep(0.02)
            yield item


class ComesBack(Attributes):
    """Describes in the name of its fallback until the test sets ``available``."""

    name = "comes-back"
    available = False

    def describe(self, image, regions):
        name = self.name if ComesBack.available else "attributes"
        for region in regions:
            text = f"A cup, says {name}."
            yield region, Description(status="described", label="cup", text=text, describer=name)
