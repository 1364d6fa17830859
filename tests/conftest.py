from __future__ import annotations

from pathlib import Path

import pytest
import sanitize


@pytest.fixture(scope="session")
def cpp_tests() -> Path:
    """The build folder of the C++ tests, built once a session; what is missing for that is a failure, never a skip."""
    directory = sanitize.ROOT / "build" / "cpp-tests"
    try:
        sanitize.build(directory, "-DCMAKE_BUILD_TYPE=Release", capture=True)
    except sanitize.BuildError as error:
        pytest.fail(str(error), pytrace=False)
    return directory
