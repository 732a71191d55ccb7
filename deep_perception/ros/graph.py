"""The ROS graph as its participants announce it: nobody checks what they say.

Names of nodes are sent as bytes of any kind. rclpy raises UnicodeDecodeError for a whole list of
which one name is no UTF-8, which would end a node that looks at the graph in a timer; here such a
list is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

UNREADABLE = (
    "a node of this ROS graph has a name that is no text, so that no name of a node can be read"
)


def node_names(node: Node) -> list[str]:
    """The full names of all nodes, one that runs twice two times."""
    names = _read(node.get_node_names_and_namespaces)
    return [f"{space.rstrip('/')}/{name}" for name, space in names]


def topics(node: Node) -> list[tuple[str, list[str]]]:
    """The names of all topics, with their types."""
    return _read(node.get_topic_names_and_types)


def publishers(node: Node, topic: str) -> list[TopicEndpointInfo]:
    """The publishers of a topic."""
    return _read(lambda: node.get_publishers_info_by_topic(topic))


def is_readable(node: Node) -> bool:
    """Whether the names of all nodes are text."""
    try:
        node.get_node_names()
    except UnicodeDecodeError:
        return False
    return True


def _read(query: Callable[[], Any]) -> Any:
    try:
        return list(query())
    except UnicodeDecodeError:
        return []
