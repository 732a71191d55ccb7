"""Fixtures of the tests with a live graph; the conftest.py of their folders imports them.

Nothing of ROS is imported here, for the folders are also collected where there is none.
"""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def graph():
    from support.graph import Graph

    tester = Graph()
    yield tester
    tester.close()


def _starting(tmp_path_factory):
    from support.graph import NodeProcess

    started = []

    def start(**arguments):
        log = tmp_path_factory.mktemp("node") / "log.txt"
        started.append(NodeProcess(log, **arguments))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def start_node(tmp_path_factory):
    """Start nodes; they are stopped at the end of the test."""
    yield from _starting(tmp_path_factory)


@pytest.fixture(scope="module")
def start_module_node(tmp_path_factory):
    """Start nodes that all tests of a module share."""
    yield from _starting(tmp_path_factory)


@pytest.fixture
def start_actor():
    """Start processes of actors.py; they are killed at the end of the test."""
    import subprocess
    import sys

    started = []

    def start(*arguments):
        actors = Path(__file__).with_name("actors.py")
        started.append(subprocess.Popen([sys.executable, actors, *map(str, arguments)]))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
