"""What is wrong with a container before anything opens, as data, each finding with its path drawn and its cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from dependency_injector import containers, providers

from prefect_lifespan.finding import Code, Finding
from prefect_lifespan.graph.arguments import providers_in_collections, unbindable
from prefect_lifespan.graph.cleanup import is_generator, second_yield, unguarded
from prefect_lifespan.graph.edges import AnyProvider, is_kind, plain_arguments
from prefect_lifespan.graph.logging_setup import sets_up_logging
from prefect_lifespan.graph.model import Graph, Node
from prefect_lifespan.graph.options import Missing, as_declared, refused
from prefect_lifespan.graph.reader import ContainerClass, graph_of
from prefect_lifespan.lifetimes import Lifetime

LOGGING_CURE = (
    "set up logging before the flow is called, where its script begins, with disable_existing_loggers=False, or what is "
    "logged in runs is lost; or only change levels, with `incremental: True`"
)


def check(container: ContainerClass) -> tuple[Finding, ...]:
    """Everything that is wrong with a container class, found without opening anything.

    Args:
        container: a dependency-injector DeclarativeContainer class.

    Returns:
        The findings, empty for a container that is well: each with `code`, `severity`, `path`, `message` and `cure`. An
        "error" keeps the container from being opened, a "warning" does not. Dependencies that a run is to provide
        through `overrides` count as undefined here, and options of a configuration that the program is to fill as missing.

    Raises:
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> class App(containers.DeclarativeContainer):
        ...     url = providers.Dependency(instance_of=str)
        >>> [finding.code for finding in check(App)]
        ['undefined-dependency']
    """
    return all_findings(graph_of(require_container(container)))


def all_findings(graph: Graph) -> tuple[Finding, ...]:
    """The same of a graph that has been read, perhaps with what a lifespan overrides."""
    return (*findings(graph, copying=True), *_without_value(graph))


def require_container(container: object) -> ContainerClass:
    """`container`, where it is a declarative container class; an error that says what was given otherwise."""
    if isinstance(container, type) and getattr(container, "__IS_CONTAINER__", False) is True:
        return cast("ContainerClass", container)
    given = container.__qualname__ if isinstance(container, type) else type(container).__qualname__
    if isinstance(container, type):
        cure = ""
    elif isinstance(container, containers.DynamicContainer) and not is_kind(container.declarative_parent, type):
        cure = (
            "; each lifespan makes an instance of its own, so give a class with what it declares: "
            "type('App', (containers.DeclarativeContainer,), dict(container.providers))"
        )
    else:
        cure = "; give the class, each lifespan makes its own instance"
    raise TypeError(
        f"expected a container class (a subclass of dependency_injector.containers.DeclarativeContainer), got {given}{cure}"
    )


def findings(graph: Graph, *, copying: bool = False) -> tuple[Finding, ...]:
    """The findings of a graph that has been read; see `check`.

    Whether arguments can be copied is tried with `copying` only: it costs a copy of each, and making an instance of
    the container tells as well that one cannot.
    """
    found = graph.once(_of_structure)
    return (*found, *_uncopyable(graph), *_as_written(graph), *_on_the_class(graph)) if copying else found


def _of_structure(graph: Graph) -> tuple[Finding, ...]:
    return (
        *_undefined(graph),
        *_without_initialiser(graph),
        *_cycles(graph),
        *_captives(graph),
        *_unbindable(graph),
        *_in_collections(graph),
    )


def refusals(graph: Graph) -> tuple[Finding, ...]:
    """The findings that keep a container from being opened, with those that show when it is copied."""
    return tuple(finding for finding in findings(graph, copying=True) if finding.severity == "error")


def refused_options(graph: Graph, keys: Iterable[int], instances: Mapping[int, AnyProvider]) -> tuple[Finding, ...]:
    """The options that resources about to open cannot do without, and that their container instance has no value for."""
    return tuple(_missing(graph, each) for each in refused(graph, keys, instances))


def describe(graph: Graph, key: int) -> str:
    """A provider as a drawn path shows it: its name and what it is."""
    node = graph.nodes[key]
    kind = type(node.provider).__name__ + (f", {node.lifetime.told}" if node.lifetime is not None else "")
    if _is_of_a_loop(node):
        kind = "asynchronous ProcessResource, one per flow run"
    return f"{graph.container}.{node.path}  ({kind})"


def _drawn(graph: Graph, keys: Sequence[int]) -> tuple[str, ...]:
    return tuple(describe(graph, key) for key in keys)


def _undefined(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes.values():
        if isinstance(node.provider, providers.Dependency) and not node.edges:
            yield Finding(
                code="undefined-dependency",
                path=node.path,
                way=_drawn(graph, _way_to(graph, node)),
                message=f"{graph.container}.{node.path} is a Dependency that nothing provides",
                cure=f"give it a default, or provide it: lifespan({graph.container}, overrides={{{node.path!r}: ...}})",
            )


def _without_value(graph: Graph) -> Iterator[Finding]:
    return (_missing(graph, each) for each in as_declared(graph))


def _missing(graph: Graph, missing: Missing) -> Finding:
    option = f"{graph.container}.{missing.path}"
    *users, _ = _way_to(graph, missing.node)
    return Finding(
        code="required-option" if missing.refused else "option-without-value",
        path=missing.path,
        way=(*_drawn(graph, users), f"{option}  (option of a configuration)"),
        message=f"{option} has no value, "
        + ("and may not be without" if missing.refused else "and None would be given"),
        cure=(
            f"fill the configuration before the container opens (a default, from_dict, from_env, from_yaml, ...), or give "
            f"it: lifespan({graph.container}, overrides={{{missing.path!r}: ...}})"
        ),
    )


def _without_initialiser(graph: Graph) -> Iterator[Finding]:
    for node in graph.resources:
        if getattr(node.provider, "provides", None) is None:
            message = f"{graph.container}.{node.path} is a resource without an initialiser"
            cure = f"give it one, providers.Resource(open_{node.path.rpartition('.')[2]}), or override it"
            yield _about(graph, node, "no-initialiser", message, cure)


def _way_to(graph: Graph, node: Node) -> Sequence[int]:
    """From the first declared provider that needs `node` down to it."""
    for user in graph.nodes.values():
        if user.key != node.key and user.declared and not isinstance(user.provider, providers.Container):
            way = graph.path_between(user.key, node.key)
            if way:
                return way
    return [node.key]


def _cycles(graph: Graph) -> Iterator[Finding]:
    """One finding for each way back that a depth-first walk meets, without recursion."""
    done: set[int] = set()
    for start in graph.nodes:
        if start in done:
            continue
        way: list[int] = [start]
        on_way = {start}
        pending = [_dependency_targets(graph, start)]
        while way:
            target = next(pending[-1], None)
            if target is None:
                pending.pop()
                on_way.discard(way[-1])
                done.add(way.pop())
            elif target in on_way:
                yield _cycle(graph, [*way[way.index(target) :], target])
            elif target not in done:
                way.append(target)
                on_way.add(target)
                pending.append(_dependency_targets(graph, target))


def _dependency_targets(graph: Graph, key: int) -> Iterator[int]:
    return (edge.target for edge in graph.nodes[key].edges if not edge.structural)


def _cycle(graph: Graph, keys: Sequence[int]) -> Finding:
    first = graph.nodes[keys[0]].path
    return Finding(
        code="cycle",
        path=first,
        way=_drawn(graph, keys),
        message=f"{graph.container}.{first} needs itself",
        cure="break the circle: pass one of them as a provider (`.provider`) and call it later, or split it in two",
    )


def _captives(graph: Graph) -> Iterator[Finding]:
    for node in graph.resources:
        if node.lifetime is None or node.lifetime is Lifetime.TASK:
            continue
        for target in graph.direct[node.key]:
            shorter = graph.nodes[target]
            ends_with_its_run = _is_of_a_loop(shorter) and node.lifetime is Lifetime.PROCESS and not node.is_async
            if shorter.lifetime is None or (shorter.lifetime >= node.lifetime and not ends_with_its_run):
                continue
            problem = (
                f"{graph.container}.{node.path} outlives {graph.container}.{shorter.path}, which it needs: "
                "it would go on using it after it has closed"
            )
            cure = f"let {node.path} live no longer, or {shorter.path} as long"
            if ends_with_its_run:
                problem += "; what is asynchronous belongs to the event loop of one run"
                cure = (
                    f"make {node.path} a Resource, or asynchronous too: both live as long as the run then; or make "
                    f"{shorter.path} blocking"
                )
            yield Finding(
                code="captive-lifetime",
                path=node.path,
                way=_drawn(graph, graph.path_between(node.key, target)),
                message=problem,
                cure=cure,
            )


def _is_of_a_loop(node: Node) -> bool:
    """Whether it lives as long as the run whose event loop opened it, although it is declared to live longer."""
    return node.lifetime is Lifetime.PROCESS and node.is_async


def _about(graph: Graph, node: Node, code: Code, message: str, cure: str) -> Finding:
    """A finding that is about one provider by itself."""
    return Finding(code=code, path=node.path, way=_drawn(graph, [node.key]), message=message, cure=cure)


def _unbindable(graph: Graph) -> Iterator[Finding]:
    for node, problem, cure in unbindable(graph):
        message = f"{graph.container}.{node.path} is declared with arguments that do not fit: {problem}"
        yield _about(graph, node, "unbindable-arguments", message, cure)


def _in_collections(graph: Graph) -> Iterator[Finding]:
    for node, what, cure in providers_in_collections(graph):
        message = f"{what}, which dependency-injector hands through as they are, uncalled"
        meant = "or name each by its `.provider`, if providers are what it is to be given"
        yield _about(graph, node, "providers-in-collection", message, f"{cure}; {meant}")


def _as_written(graph: Graph) -> Iterator[Finding]:
    """What the code of initialisers tells; it may not be what runs, so it refuses nothing."""
    for node in graph.resources:
        declared: Any = node.provider
        initialiser, resource = getattr(declared, "provides", None), f"{graph.container}.{node.path}"
        if (line := unguarded(initialiser)) is not None:
            message = (
                f"the initialiser of {resource} goes on after its `yield` in line {line}, and does not where the body "
                "fails: that is raised there"
            )
            cure = "put the `yield` into `try:` and what follows into `finally:`, or use a `with` block"
            yield _about(graph, node, "unguarded-cleanup", message, cure)
        if (line := second_yield(initialiser)) is not None:
            message = f"the initialiser of {resource} yields again in line {line}, where it is to clean up and end"
            cure = "write one `yield`, outside any loop: one generator opens one resource"
            yield _about(graph, node, "second-yield", message, cure)
        if (name := sets_up_logging(initialiser, declared.args, declared.kwargs)) is not None:
            message = (
                f"{resource} calls {name}, which ends Prefect's log handlers while it holds logging's lock: in a run it may "
                "wait for them for seconds, or for ever"
            )
            yield _about(graph, node, "logging-reconfigured", message, LOGGING_CURE)


def _on_the_class(graph: Graph) -> Iterator[Finding]:
    """What a call of a provider at import has left, and a generator that nobody will ever open."""
    for node in graph.nodes.values():
        declared, path = cast("Any", node.provider), f"{graph.container}.{node.path}"
        if node.is_resource and declared.initialized:
            message = f"{path} is open already, on the class itself, where nobody closes it: something has called it"
            cure = (
                "give the provider and not its value, `App.db` and not `App.db()`, as an argument and in a marker, and ask the "
                "container of a lifespan for values"
            )
            yield _about(graph, node, "opened-on-class", message, cure)
        if is_kind(declared, providers.BaseSingleton) and is_generator(declared.provides):
            message = f"{path} is a {type(declared).__name__} of a generator, which is its value and which nobody opens"
            name = getattr(declared.provides, "__name__", "open_it")
            yield _about(graph, node, "unopened-generator", message, f"write providers.Resource({name}, ...)")


def _uncopyable(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes.values():
        if node.foreign or node.overridden:
            continue  # values of an override are used as they are
        for label, value in plain_arguments(node.provider):
            try:
                providers.deepcopy(value)  # dependency-injector's own, which leaves the standard streams as they are
            except Exception as error:
                message = (
                    f"{label} of {graph.container}.{node.path} is a {type(value).__qualname__} that cannot be copied "
                    f"({type(error).__name__}), and each run gets a copy of its container"
                )
                cure = "wrap it, providers.Object(value), to be shared as it is, or let a provider make it"
                yield _about(graph, node, "uncopyable-argument", message, cure)
