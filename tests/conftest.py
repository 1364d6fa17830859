from __future__ import annotations

import signal
import sys
from pathlib import Path

import hypothesis
import pytest
import sanitize

sys.path.append(str(sanitize.ROOT))  # `bench` is not installed

# A shell that runs the tests in its background has these ignored, and so would have all that they start.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

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
