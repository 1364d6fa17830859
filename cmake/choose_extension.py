"""The extension for the torch at hand.

An extension runs only with the minor version of torch that it was built for. A wheel for several torches has one for
each, in folders beside this file, which is the package's `__init__.py` there.
"""

import importlib.util
import sys
from pathlib import Path

import torch  # before the extension, whose libraries lie in torch's wheel

_here = Path(__file__).parent
_minor = ".".join(torch.__version__.split(".")[:2])
_found = next((_here / f"torch-{_minor}").glob("a3c_fast_core.*"), None)
if _found is None:
    _minors = [folder.name.removeprefix("torch-") for folder in _here.glob("torch-*")]
    _have = sorted(_minors, key=lambda minor: [int(part) for part in minor.split(".")])
    raise ImportError(
        f"this a3c_fast was built for torch {', '.join(_have)} and finds torch {torch.__version__}: "
        "install one of these, or build a3c_fast for yours from its source"
    )
_spec = importlib.util.spec_from_file_location(__name__, _found)
sys.modules[__name__] = _module = importlib.util.module_from_spec(_spec)  # takes the place of this package
_spec.loader.exec_module(_module)
