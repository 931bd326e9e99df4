"""The patterns that people write by hand today, each in one short file: read the one you need, copy it, change it.

Each runs by itself, `python flows/patterns/retries.py`, on nothing but this library and the standard library's sqlite3.

| file | instead of |
|---|---|
| setup_and_cleanup | `db = connect()` and `try/finally` inside the flow |
| context_manager | a second set of connections for notebooks and scripts |
| background_tasks | waiting for every future by hand before the connection may close |
| completion_hooks | global clients for the sake of `on_completion` |
| shared_application | module-level globals for what several runs share |
| retries | a retry loop around `connect()` |
| commit_or_rollback | a flag that tells the `finally` whether the work succeeded |
| model_in_the_process | a global behind `functools.cache` that nobody ever closes |
| async_resources | nested `async with` blocks, one after another |
| subflows | a connection as a parameter, or one more for each subflow |
| overrides_in_a_test | `monkeypatch` for every module that has imported the connection |
| worker_processes | connecting in every task, or a pool's initialiser that fills a global |
| blocks_as_resources | `Secret.load` in each task |
| concurrency_slots | `with concurrency(...)` around each use of a connection |
"""
