"""``python -m deep_perception.dam_server ARGS``, or this file by its path.

The path works in an environment without deep_perception. The folder that holds deep_perception may
be the site-packages of another environment, whose torch and numpy must not be found. So only the
package itself is made importable, and the folder of this file, which Python puts first in
``sys.path``, is removed from it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def make_importable() -> None:
    """Make ``deep_perception`` importable, and nothing else of the folder that holds it."""
    here = Path(__file__).resolve().parent
    if sys.path and Path(sys.path[0]).resolve() == here:
        del sys.path[0]
    package = here.parent
    spec = importlib.util.spec_from_file_location(
        package.name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} is no Python package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package.name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    if not __package__:
        make_importable()
    from deep_perception.dam_server.process import main

    sys.exit(main(sys.argv[1:]))
