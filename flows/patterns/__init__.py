"""The patterns that people write by hand today, each in one short file: read the one you need, copy it, change it.

| file | instead of |
|---|---|
| setup_and_cleanup | `db = connect()` and `try/finally` inside the flow |
| commit_or_rollback | a flag that tells the `finally` whether the work succeeded |
| context_manager | a second set of connections for notebooks and scripts |
| background_tasks | waiting for every future by hand before the connection may close |
| completion_hooks | global clients for the sake of `on_completion` |
| shared_application | module-level globals for what several runs share |
| retries | a retry loop around `connect()` |
| async_resources | nested `async with` blocks, one after another |
"""
