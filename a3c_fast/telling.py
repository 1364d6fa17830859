"""What a run has to say to its user, beside what it writes down."""

from __future__ import annotations

import sys
import warnings


def tell(message: str) -> None:
    """A warning, which must end nothing where the program turns warnings into errors."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=4)
    except RuntimeWarning:
        print(f"warning: {message}", file=sys.stderr)
