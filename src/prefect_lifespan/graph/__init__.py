"""What a container class declares: its resources and their lifetimes, what needs what, and what is wrong with it.

Reading opens nothing and calls no initialiser.
"""

from prefect_lifespan.graph.findings import Finding, check, findings
from prefect_lifespan.graph.model import Edge, Graph, Node
from prefect_lifespan.graph.reader import graph_of, read

__all__ = ["Edge", "Finding", "Graph", "Node", "check", "findings", "graph_of", "read"]
