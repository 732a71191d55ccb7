"""Fixtures of the campaign of faults."""

from support.graph_fixtures import (  # noqa: F401
    graph,
    start_actor,
    start_node,
)
