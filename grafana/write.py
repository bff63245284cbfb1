"""Writes the dashboards: `python -m grafana.write`."""

import json
from pathlib import Path

from grafana.boards import BOARDS

FOLDER = Path(__file__).parent / "dashboards"


def text(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(BOARDS[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in BOARDS:
        (FOLDER / f"{name}.json").write_text(text(name))
