"""The two methods of Prefect that are replaced where a run submits tasks, and why nothing less serves.

Prefect has no hook for either. tests/contract/test_prefect_methods.py pins what is said here, on every kind of runner.

`EngineContext.serialize`, on the class: whatever takes a run's context to another process calls it in the submitting
thread, and there the scope in force is added. A context of a class of ours, entered as the current one, would be asked in
its place for the run whose function enters it. It would not be asked
- by a flow that begins inside: Prefect makes that its own context, after ours. This is every flow without `@lifespan` in
  `with lifespan(...)`, under a lifespan for all contexts, or under an override that a test enters;
- in a worker process, where Prefect makes the context from what has arrived, and its tasks submit others.
So the class would have to be replaced all the same, and a second way beside it is one more to understand.

`submit`, on the runner of one run, never on a class: `task.submit` and `map` both end there. A runner of ours in the
context, which delegates, would see as much. But the runner in the context is not ours alone: whoever asks Prefect for it
(code that looks at its class, collections that read its attributes) would be given another class, in a model that says
that it forbids mutation. A method on that one object is seen by nobody, and goes with the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from prefect.context import EngineContext, FlowRunContext
from prefect.task_runners import TaskRunner

from prefect_lifespan.in_flight import RunningCall
from prefect_lifespan.lifespans.forgotten import refuse
from prefect_lifespan.lifespans.futures import Future, PendingFutures
from prefect_lifespan.scope import current_scope

Serialized = dict[str, Any]


def when_serialized(add: Callable[[EngineContext, Serialized], None]) -> None:
    """Let `add` put into a run's context what it sends along, in the thread that takes it elsewhere; once for a process."""
    if getattr(EngineContext.serialize, "carries_scopes", False):
        return
    serialize = EngineContext.serialize

    def serialize_and_add(self: EngineContext, include_secrets: bool = True) -> Serialized:
        serialized = serialize(self, include_secrets)
        add(self, serialized)
        return serialized

    cast("Any", serialize_and_add).carries_scopes = True
    EngineContext.serialize = serialize_and_add


def watch_submissions() -> None:
    """Let futures that this flow run's task runner submits be known to the lifespans in force where that happens."""
    context = FlowRunContext.get()
    if context is not None:
        watch(context.task_runner)


def watch(runner: TaskRunner[Any], submitted: PendingFutures | None = None) -> None:
    """Let futures that a run's task runner submits be known to the lifespans in force where that happens.

    They are added to `submitted`, too. Doing it twice does nothing.
    """
    if "submit" in vars(runner):
        return
    submit: Callable[..., Future] = runner.submit

    def submit_and_tell(*args: Any, **kwargs: Any) -> Future:
        task = kwargs["task"] if "task" in kwargs else args[0]
        refuse(task, kwargs["parameters"] if "parameters" in kwargs else args[1])
        scope, submission = current_scope(), RunningCall()

        def submit_and_add() -> Future:
            future = submissions.submitted(runner, partial(submit, *args, **kwargs))
            for pending in (submitted, *(lifespan.pending for lifespan in scope.lifespans)):
                if isinstance(pending, PendingFutures):
                    pending.add(future, task.name, submission)
            return future

        try:
            # Who waits for the call that submits waits for the task, too, and lets in what that calls.
            future = submission.submit(scope.flight, submit_and_add)
            future.add_done_callback(lambda _: submission.end())
        except BaseException:
            submission.end()
            raise
        return future

    runner.submit = submit_and_tell


class Submissions:
    """How a watched runner is submitted to; whoever takes scopes to other processes sets it."""

    def __init__(self) -> None:
        self.submitted: Callable[[TaskRunner[Any], Callable[[], Future]], Future] = lambda _, submit: submit()


submissions: Submissions = Submissions()
