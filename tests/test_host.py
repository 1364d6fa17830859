"""The commands inside a program that does other things too: its signals, its warnings and its life are its own."""

from __future__ import annotations

from helpers import FAKE, run

_HOST = """
import signal, sys, threading, os, warnings
from a3c_fast import train, evaluate, trainer
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
def state():
    return [signal.getsignal(number) for number in NUMBERS], warnings.showwarning, sys.stdout, sys.stderr
def command(main, *flags):
    try:
        main(flags)
    except SystemExit as end:
        return end.code or 0
    return 0
FLAGS = ("--env-id", "a3c_fast/Fake-v0", "--num-workers", "1", "--total-steps")
signal.signal(signal.SIGTERM, lambda *_: print("the host's SIGTERM", flush=True))
before = state()
"""


def host(script: str) -> list[str]:
    result = run("-c", _HOST + script)
    assert (result.status, result.stderr) == (0, ""), result
    return result.stdout.splitlines()


def test_what_is_global_is_as_it_was() -> None:
    lines = host("""
def broken(self, **_): raise ZeroDivisionError
for flags in (("1000", "--run-dir", "a"), ("0",)):
    sys.stderr = open(os.devnull, "w")
    status = command(train.main, *FLAGS, *flags)
    sys.stderr = before[3]
    print(status, state() == before)
run = trainer.Trainer.run
trainer.Trainer.run = broken
try:
    train.main([*FLAGS, "1000", "--run-dir", "b"])
except ZeroDivisionError:
    print("raised", state() == before)
trainer.Trainer.run = run
command(train.main, "--env-id", "CartPole-v1", "--total-steps", "500", "--run-dir", "c")
print(command(evaluate.main, "c", "--episodes", "2"), state() == before)
sys.stderr = open(os.devnull, "w")
print(command(evaluate.main, "missing"), state()[:2] == before[:2])
sys.stderr = before[3]
""")
    told = [line for line in lines if line.endswith(("True", "False"))]
    assert told == ["0 True", "2 True", "raised True", "0 True", "2 True"]


def test_it_works_off_the_main_thread() -> None:
    lines = host("""
statuses = []
def work():
    statuses.append(command(train.main, "--env-id", "CartPole-v1", "--total-steps", "500", "--run-dir", "c"))
    statuses.append(command(evaluate.main, "c", "--episodes", "2"))
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(statuses, state() == before)
""")
    assert lines[-1] == "[0, 0] True"


def test_a_signal_ends_and_saves_the_run_and_the_program_lives() -> None:
    lines = host("""
for number in NUMBERS:
    train._announce = lambda output, trainer: os.kill(os.getpid(), number)
    print(command(train.main, *FLAGS, "1000000000000", "--run-dir", f"r{number}"), state() == before)
""")
    assert [line for line in lines if line.endswith("True")] == ["130 True", "143 True", "129 True", "138 True"]


def test_a_second_signal_is_the_programs_own() -> None:
    lines = host("""
def twice(output, trainer):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
train._announce = twice
print(command(train.main, *FLAGS, "1000000000000", "--run-dir", "r"), state() == before)
def interrupted(output, trainer):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
train._announce = interrupted
try:
    train.main([*FLAGS, "1000000000000", "--run-dir", "q"])
except KeyboardInterrupt:
    print("interrupted", state() == before)
""")
    assert lines[0] == "the host's SIGTERM"
    assert "143 True" in lines
    assert lines[-1] == "interrupted True"


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    result = run(
        "-c",
        f"""
import os, signal
numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
for number in numbers:
    signal.signal(number, signal.SIG_IGN)
from a3c_fast import train
train._announce = lambda output, trainer: [os.kill(os.getpid(), number) for number in numbers]
train.main(["--env-id", {FAKE!r}, "--total-steps", "1000", "--run-dir", "r"])
""",
    )
    assert (result.status, result.stderr) == (0, "")
    assert "done: " in result.stdout


def test_two_commands_in_two_threads_leave_the_streams_and_the_warnings_alone() -> None:
    lines = host("""
import pathlib
command(train.main, *FLAGS, 500, "--run-dir", "r")
before = state(), warnings.filters[:]
def work():
    for i in range(20):
        command(train.main, *FLAGS, "500", "--run-dir", pathlib.Path("r"), "--resume")
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print((state(), warnings.filters[:]) == before)
""")
    assert lines[-1] == "True"
