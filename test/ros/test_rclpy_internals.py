"""An executor that goes on when a callback fails, or when bytes are no message."""

import threading
from contextlib import suppress

import pytest
import rclpy
from rclpy.executors import Executor, ExternalShutdownException
from std_srvs.srv import Trigger

from deep_perception.ros import rclpy_internals

pytestmark = pytest.mark.ros


@pytest.fixture
def served(graph):
    """A node that spins in a thread, and the exceptions that were reported."""
    rclpy.init()
    node = rclpy.create_node("fragile")
    faults = []

    def run():
        with suppress(ExternalShutdownException):
            rclpy_internals.spin(node, on_fault=faults.append)

    thread = threading.Thread(target=run)
    thread.start()
    yield node, faults
    rclpy.try_shutdown()
    thread.join()


def fails(times):
    """A function that raises so often, and then calls another one."""
    left = [times]

    def call(then, *arguments):
        if left[0]:
            left[0] -= 1
            raise RuntimeError("no message")
        return then(*arguments)

    return call


def answers(graph, served):
    def answer(request, response):
        response.success = True
        return response

    node, _ = served
    node.create_service(Trigger, "fragile/answer", answer)
    return graph.call(Trigger, "/fragile/answer", Trigger.Request()).success


def test_a_callback_that_fails_costs_that_call(graph, served):
    node, faults = served
    call = fails(3)
    calls = []
    node.create_timer(0.01, lambda: call(calls.append, 1))
    graph.until(lambda: len(calls) > 3, "the calls after the faults")
    assert [str(fault) for fault in faults] == ["no message"] * 3
    assert answers(graph, served)


def test_a_request_that_cannot_be_read_costs_that_request(graph, served, monkeypatch):
    take, call = vars(Executor)["_take_service"], fails(1)
    monkeypatch.setattr(Executor, "_take_service", lambda self, srv: call(take, self, srv))
    _, faults = served
    assert answers(graph, served)
    assert [str(fault) for fault in faults] == ["no message"]
