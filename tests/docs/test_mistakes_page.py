"""docs/how-to/mistakes.md names each code, with its severity, and no others."""

import re
from pathlib import Path

from prefect_lifespan.graph import SEVERITIES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "mistakes.md"


def test_the_page_has_a_row_for_each_code_with_its_severity():
    rows = re.findall(r"^\| `([a-z-]+)` \| (error|warning) \| .+ \| .+ \|$", PAGE.read_text(), flags=re.MULTILINE)
    assert len(rows) == len(SEVERITIES)
    assert dict(rows) == dict(SEVERITIES)
