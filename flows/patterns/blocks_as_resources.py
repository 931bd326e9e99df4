"""A Prefect block as a resource: loaded when the run starts, entered if it is a context manager, given to tasks.

By hand: `Secret.load(...)` in each task, a request to the API each time, and no way to say something else in a test.
A block that does not exist stops the run before its first task, with the command that makes one.
"""

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.blocks.system import Secret
from pydantic import SecretStr

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.blocks import open_block

NAME = "prefect-lifespan-pattern"


class Mail(containers.DeclarativeContainer):
    password = providers.Resource(open_block, Secret, NAME)


@task
@inject
def sign_in(user: str, password: Secret[str] = Provide[Mail.password]) -> str:
    return f"{user} signs in with {len(password.get())} characters: {password.value}"


@flow(name="send-mail")
@lifespan(Mail)
def send_mail(user: str) -> str:
    return sign_in(user)


def demo() -> str:
    """Makes the block, as somebody once does by the UI, and removes it after the run."""
    Secret(value=SecretStr("correct horse")).save(NAME, overwrite=True)
    try:
        return send_mail("alice")
    finally:
        Secret.delete(NAME)


if __name__ == "__main__":
    print(demo())
