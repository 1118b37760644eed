"""What jobs and sources take in the warehouse."""

from __future__ import annotations

from dataclasses import asdict

from blade.v1 import cost_pb2
from blade_server.model.cost import Cost, SourceCost


def cost_message(cost: Cost) -> cost_pb2.Cost:
    """Whose fields are the model's."""
    return cost_pb2.Cost(**asdict(cost))


def source_cost_message(of: SourceCost) -> cost_pb2.SourceCost:
    """With the source that took it."""
    return cost_pb2.SourceCost(source=of.source, data_type=of.data_type, cost=cost_message(of.cost))
