"""Which statuses are logged, with a clock that the tests set."""

import time

import pytest

from deep_perception.ros.diagnostics import (
    ERROR,
    FORGET_S,
    MOST_MESSAGES,
    OK,
    SETTLED_S,
    Diagnostics,
    Status,
)

pytestmark = pytest.mark.ros


class Log:
    """The part of an rclpy logger that the diagnostics use."""

    def __init__(self):
        self.lines = []
        self.info = self.warning = self.error = self.lines.append


@pytest.fixture
def log(graph, monkeypatch):
    log = Log()
    monkeypatch.setattr(graph.node, "get_logger", lambda: log)
    return log


@pytest.fixture
def publish_at(graph):
    """Publish a status of the input at a time."""
    diagnostics = Diagnostics(graph.node)

    def publish(time_s, level, message):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: time_s)
            diagnostics.publish([Status("input", level, message, {})])

    return publish


def test_every_other_status_bad_is_one_line(log, publish_at):
    for number in range(100):
        publish_at(number, ERROR, f"frame {number} is broken")
        publish_at(number + 0.5, OK, "images arrive")
    assert len(log.lines) == 1
    assert log.lines[0].endswith("input: frame 0 is broken")


def test_a_recovery_is_logged_once_and_then_the_problem_again(log, publish_at):
    publish_at(0.0, ERROR, "no image")
    publish_at(1.0, OK, "images arrive")
    publish_at(1.0 + SETTLED_S, OK, "images arrive")
    publish_at(2.0 + SETTLED_S, OK, "images arrive")
    publish_at(3.0 + SETTLED_S, ERROR, "no image")
    assert [line.rsplit(": ", 1)[1] for line in log.lines] == ["no image", "recovered", "no image"]


def test_a_problem_that_lasts_is_not_logged_again(log, publish_at):
    for number in range(10):
        publish_at(number * FORGET_S / 2, ERROR, "no image")
    assert len(log.lines) == 1


def test_topics_that_differ_in_a_number_are_two_problems(log, publish_at):
    publish_at(0.0, ERROR, "/cam1/image has no publisher")
    publish_at(1.0, ERROR, "/cam2/image has no publisher")
    assert len(log.lines) == 2


def test_what_is_quoted_makes_no_new_line(log, publish_at):
    for number in range(200):
        name = chr(97 + number % 26) * (1 + number // 26)
        publish_at(number / 10, ERROR, f"/front/image: encoding '{name}' is not supported")
    publish_at(20, ERROR, "/rear/image: encoding 'abc' is not supported")
    assert len(log.lines) == 2


def test_problems_of_any_number_are_so_many_lines(log, publish_at):
    def invented(number):
        return "".join(chr(97 + int(digit)) for digit in str(number))

    for number in range(2000):
        publish_at(number / 100, ERROR, f"a problem named {invented(number)}")
    assert len(log.lines) == MOST_MESSAGES
    # Later there is room for others.
    publish_at(30 + FORGET_S, ERROR, "no image")
    assert log.lines[-1].endswith("input: no image")
