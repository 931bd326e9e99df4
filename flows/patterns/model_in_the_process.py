"""A model that is loaded once in a process, however many runs it serves: a `ProcessResource`.

By hand: a global behind `functools.cache`, which two threads may load at the same time and nobody ever closes. This one
opens at first use and closes at the end of the process, or of the outermost `with lifespan(...)`.
"""

from collections.abc import Callable, Iterator

from dependency_injector import containers
from prefect import flow, task

from prefect_lifespan import ProcessResource, Provide, inject, lifespan

Model = Callable[[str], str]
KNOWN = {"apple": "fruit", "leek": "vegetable"}


def load_model(name: str) -> Iterator[Model]:
    """What takes long in real life: weights from a disk, a compiler, a graphics card."""
    print(f"loading {name}")
    try:
        yield lambda word: KNOWN.get(word, "neither")
    finally:
        print(f"unloading {name}")


class Kitchen(containers.DeclarativeContainer):
    model = ProcessResource(load_model, name="the model")


@task
@inject
def classify(word: str, model: Model = Provide[Kitchen.model]) -> str:
    return f"{word}: {model(word)}"


@flow(name="classify-words")
@lifespan(Kitchen)
def classify_words(words: list[str]) -> list[str]:
    return [classify(word) for word in words]


def demo() -> str:
    """Two runs, one after the other, each with a lifespan of its own."""
    return ", ".join([*classify_words(["apple", "leek"]), *classify_words(["stone"])])


if __name__ == "__main__":
    print(demo())
