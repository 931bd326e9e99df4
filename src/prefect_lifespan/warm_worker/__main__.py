"""What a warm process runs: `python -m prefect_lifespan.warm_worker DESCRIPTOR OPTIONS`, started by a worker."""

import json
import socket
import sys

from prefect_lifespan.warm_worker.serving import Options, Serving


def main() -> int:
    """Serve the worker on the other side of the socket, until it says so or is gone."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)  # what runs start must not keep it open
    return Serving(connection, Options(**json.loads(sys.argv[2]))).serve()


if __name__ == "__main__":
    sys.exit(main())
