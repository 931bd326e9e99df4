"""All benchmarks, one after another: `python -m benchmarks`, or `--write FILE` to keep what they print.

Each is a process of its own. One that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ALL = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", default=ALL, choices=ALL, metavar="NAME", help=f"of {', '.join(ALL)}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="where to write what they print, as well")
    options = parser.parse_args(arguments)
    failed: list[str] = []
    printed: list[str] = []
    for name in options.only:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False
        )
        printed.append(f"# {name}\n\n{done.stdout}")
        print(printed[-1], flush=True)
        if done.returncode != 0:
            failed.append(name)
        if options.write is not None:
            options.write.write_text("\n".join(printed))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
