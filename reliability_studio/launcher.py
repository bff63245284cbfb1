"""The entry point of the installed command.

In a wheel the project's folders live below `reliability_studio/bundle`, because top-level packages named `schema` or
`db` would overwrite those of other distributions. In a source tree they are importable as they are.
"""

import sys
from pathlib import Path


def main() -> None:
    """Put the bundled folders first on the import path, where there are any, and run the command line."""
    bundle = Path(__file__).parent / "bundle"
    if bundle.is_dir():
        sys.path.insert(0, str(bundle))
    from app.cli import main as run

    run()
