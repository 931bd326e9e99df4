"""What a container class declares: its resources and their lifetimes, what needs what, and what is wrong with it.

Reading opens nothing and calls no initialiser.
"""

from prefect_lifespan.finding import SEVERITIES, Code, Finding, Severity
from prefect_lifespan.graph.findings import check, findings, refusals, refused_options
from prefect_lifespan.graph.model import Edge, Graph, Node
from prefect_lifespan.graph.reader import graph_of, read

__all__ = [
    "SEVERITIES",
    "Code",
    "Edge",
    "Finding",
    "Graph",
    "Node",
    "Severity",
    "check",
    "findings",
    "graph_of",
    "read",
    "refusals",
    "refused_options",
]
