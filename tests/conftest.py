from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import sanitize

# Examples take as long as they take: a busy machine is no failure.
hypothesis.settings.register_profile("a3c_fast", deadline=None)
hypothesis.settings.load_profile("a3c_fast")


@pytest.fixture(scope="session")
def cpp_tests() -> Path:
    """The build folder of the C++ tests, built once a session; what is missing for that is a failure, never a skip."""
    directory = sanitize.ROOT / "build" / "cpp-tests"
    try:
        sanitize.build(directory, "-DCMAKE_BUILD_TYPE=Release", capture=True)
    except sanitize.BuildError as error:
        pytest.fail(str(error), pytrace=False)
    return directory
