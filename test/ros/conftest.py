"""Fixtures of the graph tests."""

from support.graph_fixtures import (  # noqa: F401
    graph,
    start_actor,
    start_module_node,
    start_node,
)
