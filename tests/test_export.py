"""Exported policies: files that another program runs, against the policies that they were made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FAKE, python
from torch import nn

import a3c_fast
from a3c_fast import Config, ConfigError, Trainer, networks
from a3c_fast.envs.spec import ActionSpec, ObservationSpec, Part, placed
from a3c_fast.export import main
from a3c_fast.exports import agreement
from a3c_fast.exports.exporting import export
from a3c_fast.exports.formats import FORMATS, Aoti, TorchExport, facts_of
from a3c_fast.exports.program import Program
from a3c_fast.policy import ActorCritic
from a3c_fast.user_policy import UserPolicy, action_space, observation_space

VECTOR = ObservationSpec((Part("", "float64", (5,), "numbers"),))
IMAGE = ObservationSpec((Part("", "uint8", (4, 42, 42), "array"),))
PARTS = placed(
    [
        Part("direction", "int64", (2,), "one_hot", first=-1, values=4),
        Part("picture", "uint8", (9, 8, 3), "channels_last"),
        Part("0.bytes", "uint8", (6,), "numbers", scale=1 / 255),
        Part("on", "bool", (), "numbers"),
        Part("speed", "float64", (3,), "numbers"),
    ]
)
CHOICE, CHOICES, REAL = ActionSpec((3,)), ActionSpec((3, 4), masked=True), ActionSpec(low=(-2.0, 0.0), high=(2.0, 1.0))


def with_random_parameters(policy: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    for parameter in policy.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 10
        nn.init.normal_(parameter, std=fan_in**-0.5, generator=generator)
    if policy.normalize_observations:
        policy.observation_mean.normal_(generator=generator)
        policy.observation_variance.uniform_(0.5, 4, generator=generator)
    return policy.eval()


def built_in(model: str, observation: ObservationSpec, action: ActionSpec, **settings: Any) -> Any:
    return with_random_parameters(ActorCritic(model, observation, action, **settings))


def of_user(network: Any, observation: ObservationSpec, action: ActionSpec) -> Any:
    made = network(observation_space(observation), action_space(action))
    return with_random_parameters(UserPolicy(made, observation, action, normalize_observations=False))


PARTS_OF_NUMBERS = ObservationSpec((Part("", "int64", (4,), "one_hot", values=3),))

POLICIES = {
    "nature, lstm": lambda: built_in(
        "nature", IMAGE, CHOICE, lstm_size=8, observation_offset=0.3, observation_scale=2.5
    ),
    "small, parts": lambda: built_in("small", PARTS, CHOICES, normalize_observations=True),
    "mlp, continuous": lambda: built_in(
        "mlp", VECTOR, REAL, normalize_observations=True, separate_value=True, activation="elu"
    ),
    "mlp, lstm, parts": lambda: built_in("mlp", PARTS, REAL, lstm_size=8, normalize_observations=True),
    "Gru": lambda: of_user(networks.Gru, VECTOR, CHOICES),
}
MORE_POLICIES = {
    "paper": lambda: built_in("paper", IMAGE, CHOICE),
    "mlp": lambda: built_in("mlp", VECTOR, CHOICE),
    "Impala": lambda: of_user(networks.Impala, IMAGE, CHOICE),
    "FrameTransformer": lambda: of_user(networks.FrameTransformer, IMAGE, REAL),
    "ImageAndVector": lambda: of_user(networks.ImageAndVector, PARTS, CHOICE),
    "Gru, whole numbers": lambda: of_user(networks.Gru, PARTS_OF_NUMBERS, REAL),
}


def some(observation: ObservationSpec, count: int) -> dict[str, Any]:
    """Observations as an environment gives them, by their parts."""
    numbers = np.random.default_rng(7)
    found = {}
    for part in observation.parts:
        low, high = (part.first, part.first + part.values) if part.kind == "one_hot" else (0, 256)
        if part.dtype == "bool":
            high = 2
        values = numbers.normal(size=(count, *part.shape)) if "float" in part.dtype else None
        whole = numbers.integers(low, high, (count, *part.shape))
        found[part.name] = np.asarray(whole if values is None else values, part.dtype)
    return found


def tensors(observations: dict[str, Any], program: Any) -> list[torch.Tensor]:
    return [torch.from_numpy(observations[port.name.removeprefix("observations").lstrip(".")]) for port in program]


def check_file(path: Path, format_: str, policy: Any) -> None:
    """Runs the file for 1, 3 and 64 observations, twice, and holds it to the policy."""
    run, program = FORMATS[format_].load(path), Program(policy)
    for count in (1, 3, 64):
        observations = some(policy.observation, count)
        whole = observations[""] if list(observations) == [""] else observations
        state = theirs_state = policy.initial_state(count)
        for _ in range(2):
            with torch.no_grad(), agreement.one_thread():
                outputs, value, state = policy.step(whole, state)
                inputs = tensors(observations, program.inputs[: len(policy.observation.parts)])
                found = run([*inputs, theirs_state] if policy.state_size else inputs)
            names = [port.name for port in program.outputs]
            by_name = dict(zip(names, found, strict=True))
            ours = by_name["logits"] if "logits" in by_name else torch.cat((by_name["mean"], by_name["log_std"]), 1)
            torch.testing.assert_close(ours, outputs, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(by_name["value"], value, rtol=1e-4, atol=1e-4)
            if policy.state_size:
                theirs_state = by_name["next_state"]
                torch.testing.assert_close(theirs_state, state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POLICIES)
def test_torch_export(name: str, tmp_path: Path) -> None:
    policy = POLICIES[name]()
    done = export(policy, tmp_path / "policy.pt2", format="torch.export")
    assert done.difference <= 1e-5
    assert "drawn" in done.origin
    check_file(done.path, "torch.export", policy)
    facts = facts_of(done.path)
    assert facts == done.facts
    assert [port["dtype"] for port in facts["inputs"]][: len(policy.observation.parts)] == [
        part.dtype for part in policy.observation.parts
    ]
    assert list(tmp_path.iterdir()) == [done.path]


@pytest.mark.parametrize("name", [*POLICIES, *MORE_POLICIES])
def test_onnx(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    policy = {**POLICIES, **MORE_POLICIES}[name]()
    done = export(policy, tmp_path / "policy.onnx")
    assert done.difference <= 1e-5
    check_file(done.path, "onnx", policy)
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    program = Program(policy)
    assert [value.name for value in session.get_inputs()] == [port.name for port in program.inputs]
    assert [value.name for value in session.get_outputs()] == [port.name for port in program.outputs]
    assert all(value.shape[0] == "batch" for value in (*session.get_inputs(), *session.get_outputs()))
    assert json.loads(session.get_modelmeta().custom_metadata_map["a3c_fast"]) == facts_of(done.path) == done.facts


def test_the_file_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Trainer(Config(env_id="CartPole-v1", run_dir=tmp_path / "run", num_workers=1, total_steps=10**6)) as trainer:
        trainer.run(500)
        policy, step = trainer.policy(), trainer.stats()["step"]
    main([str(tmp_path / "run"), "--format", "torch.export"])
    text = capsys.readouterr().out
    assert "observations float32[N, 4]" in text
    assert "CartPole-v1, played at random" in text
    check_file(tmp_path / "run" / "policy.pt2", "torch.export", policy)
    main([str(tmp_path / "run"), "--format", "torch.export", "--draw", "--json"])  # an export may be replaced
    told = json.loads(capsys.readouterr().out)
    assert (told["env_id"], told["step"], told["format"]) == ("CartPole-v1", step, "torch.export")
    assert told["difference"] < 1e-5
    assert "drawn" in told["origin"]
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("*.safetensors")
    done = a3c_fast.export(checkpoint, tmp_path / "named.pt2", format="torch.export", observations=np.zeros((2, 4)))
    assert (done.num_observations, done.origin) == (2, "of the caller")
    program = torch.export.load(done.path).module()  # as another program does
    logits, value = program(torch.zeros(5, 4))
    assert logits.shape == (5, 2)
    assert value.shape == (5,)


def test_an_environment_that_is_not_there_any_more(tmp_path: Path) -> None:
    from a3c_fast import checkpoint as checkpoints

    with Trainer(Config(env_id=FAKE, run_dir=tmp_path / "run", num_workers=1, total_steps=10**6)) as trainer:
        trainer.run(200)
    saved = checkpoints.load_newest(tmp_path / "run" / "checkpoints")
    gone = checkpoints.Checkpoint(**{**vars(saved), "config": {**saved.config, "env_id": "Gone-v0"}})
    path = checkpoints.save(gone, tmp_path / "gone.safetensors")
    done = export(path, tmp_path / "gone.pt2", format="torch.export")
    assert "drawn at random, as the environment cannot be played here" in done.origin
    assert "Gone-v0" in done.origin


def test_it_needs_neither_the_extension_nor_envpool(tmp_path: Path) -> None:
    with Trainer(Config(env_id="CartPole-v1", run_dir=tmp_path / "run", num_workers=1, total_steps=10**6)) as trainer:
        trainer.run(200)
        policy = trainer.policy()
    code = f"""
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("a3c_fast_core", "a3c_fast_steps", "envpool", "gymnasium"):
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Refused())
import a3c_fast
print(a3c_fast.export({str(tmp_path / "run")!r}, format="torch.export").origin)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("drawn at random, as the environment cannot be played here")
    check_file(tmp_path / "run" / "policy.pt2", "torch.export", policy)


@pytest.mark.parametrize(("env_id", "settings"), [("CartPole-v1", {"lstm_size": 4}), ("gymnasium:Pendulum-v1", {})])
def test_the_player(env_id: str, settings: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config = Config(env_id=env_id, run_dir=tmp_path / "run", num_workers=1, total_steps=10**6, **settings)
    with Trainer(config) as trainer:
        trainer.run(200)
    export(tmp_path / "run", tmp_path / "policy.onnx", draw=True)
    player = Path(__file__).parents[1] / "examples" / "play_onnx.py"
    command = [sys.executable, player, tmp_path / "policy.onnx", "--max-steps", "20"]
    for flags in ([], ["--greedy"]):
        done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{env_id.removeprefix('gymnasium:')}: return ")


def test_the_program_that_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from bench import export_agreement

    output = tmp_path / "agreement.json"
    flags = ["--formats", "torch.export", "--train-seconds", "0.1", "--observations", "64", "--output", str(output)]
    for names in (["mlp"], ["mlp", "mlp, lstm"]):  # the second time goes on with the file
        monkeypatch.setattr("sys.argv", ["export_agreement", *flags, "--cases", *names])
        export_agreement.main()
    result = json.loads(output.read_text())
    assert [case["name"] for case in result["cases"]] == ["mlp", "mlp, lstm"]
    found = [case["formats"]["torch.export"]["differences"] for case in result["cases"]]
    assert [list(differences) for differences in found] == [
        ["batch 1", "batch 3", "batch 64"],
        ["batch 1", "batch 3", "batch 64", "from step to step"],
    ]
    assert result["largest_difference"] == max(max(differences.values()) for differences in found) < 1e-5


def test_observations_come_back_from_the_cores_rows() -> None:
    policy = POLICIES["small, parts"]()
    spec, count = policy.observation, 6
    rows = np.zeros((count, spec.row_bytes), np.uint8)
    observations = some(spec, count)
    observations["speed"] = observations["speed"].astype(np.float32).astype(np.float64)
    array, numbers, _ = policy._batch(observations)
    spec.array_of(rows)[:] = array.numpy()
    spec.numbers_of(rows)[:] = numbers.numpy()
    found = agreement._of_rows(spec, rows)
    assert found.keys() == observations.keys()
    for name, values in observations.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


class _Wrong(TorchExport):
    """Loads a program that is 0.001 off in the last observation's value."""

    def load(self, path: Path) -> Any:
        run = super().load(path)

        def off(inputs: Any) -> Any:
            logits, value = run(inputs)
            value = value.detach().clone()
            value[-1] += 1e-3 * max(1, abs(value[-1]))
            return [logits, value]

        return off


def test_what_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "torch.export", _Wrong())
    with pytest.raises(RuntimeError, match=r"differs from the policy by 0\.001"):
        export(MORE_POLICIES["mlp"](), tmp_path / "policy.pt2", format="torch.export")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_none_differ() -> None:
    policy = MORE_POLICIES["mlp"]()
    wanted = agreement.expected(policy, Program(policy), agreement.drawn(policy, 8, ""))
    assert agreement.difference(lambda inputs: [x * np.nan for x in Program(policy)(*inputs)], wanted, 3) == np.inf
    assert agreement.difference(lambda inputs: [x[:1] for x in Program(policy)(*inputs)], wanted, 3) == np.inf
    assert agreement.difference(lambda inputs: list(Program(policy)(*inputs)), wanted, 3) < 1e-6


def test_a_state_that_is_lost_differs_over_time() -> None:
    policy = POLICIES["mlp, lstm, parts"]()
    wanted = agreement.expected(policy, Program(policy), agreement.drawn(policy, 16, ""))

    def forgets(inputs: Any) -> Any:
        return Program(policy)(*inputs[:-1], torch.zeros_like(inputs[-1]))

    assert agreement.difference_over_time(lambda inputs: list(Program(policy)(*inputs)), wanted) < 1e-5
    assert agreement.difference_over_time(lambda inputs: list(forgets(inputs)), wanted) > 1e-3


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    policy = MORE_POLICIES["mlp"]()
    torch.save({"a": torch.zeros(1)}, tmp_path / "theirs.pt2")
    (tmp_path / "text.pt2").write_text("a3c_fast")
    (tmp_path / "link.pt2").symlink_to("text.pt2")
    (tmp_path / "folder.pt2").mkdir()
    for name in ("theirs", "text", "link", "folder"):
        before = (tmp_path / "text.pt2").read_bytes(), (tmp_path / "theirs.pt2").read_bytes()
        with pytest.raises(ConfigError, match="has not exported"):
            export(policy, tmp_path / f"{name}.pt2", format="torch.export")
        assert before == ((tmp_path / "text.pt2").read_bytes(), (tmp_path / "theirs.pt2").read_bytes())


class _ForThree(nn.Module):
    """Works for every number of observations, and a graph of it for one number alone."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(5, 3), nn.Linear(5, 1)

    def forward(self, observations: Any) -> Any:
        rows = torch.stack([observations[i] for i in range(len(observations))])
        return self.policy(rows), self.value(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "tflite"}, "format is 'tflite', but it must be one of onnx, torch.export, aoti"),
        ({"format": "torch.export", "output": None}, "output is None, but it must be given for a policy"),
        ({"format": "torch.export", "output": "policy.onnx"}, r"ends in \.pt2"),
        ({"format": "torch.export", "output": "nowhere/policy.pt2"}, "nowhere is no directory"),
        ({"format": "torch.export", "output": 3}, "output is 3, but it must be a path"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        export(MORE_POLICIES["mlp"](), **{"output": "policy.pt2", **arguments})
    assert not list(tmp_path.iterdir())


def test_a_network_of_one_number_of_observations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"_ForThree.*every number of observations"):
        export(of_user(_ForThree, VECTOR, CHOICE), tmp_path / "policy.pt2", format="torch.export")
    with pytest.raises(ConfigError, match=r"torch\.float64"):
        export(MORE_POLICIES["mlp"]().double(), tmp_path / "policy.pt2", format="torch.export")
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        [str(tmp_path / "nothing"), "--format", "torch.export"],
        [str(tmp_path), "--format", "pickle"],
        [str(tmp_path), "--to", "x"],
    ):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("error: ")
        assert told.err.count("\n") == 1


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(RuntimeError, match="aoti needs a C\\+\\+ compiler, and there is none"):
        Aoti().check()


def test_the_module_is_the_function() -> None:
    import a3c_fast.export

    with pytest.raises(ConfigError, match="format"):
        a3c_fast.export("nothing", format="?")
