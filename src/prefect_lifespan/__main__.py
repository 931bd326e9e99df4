"""`python -m prefect_lifespan` is the command `prefect-lifespan`."""

from prefect_lifespan.command.app import main

main()
