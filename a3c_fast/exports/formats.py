"""The files that a policy is exported to: how each is written, run, and known again."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch

from a3c_fast.exports.program import Program
from a3c_fast.lowering import line_of, silent

Run = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]

# Of what a file says of itself: the key in the metadata of ONNX and AOTInductor, the name in torch.export's archive.
KEY = "a3c_fast"
_EXTRA_FILE = "a3c_fast.json"

_MOST_METADATA_BYTES = 2**24


class Format(ABC):
    """A kind of file."""

    name: ClassVar[str]
    default_name: ClassVar[str]
    suffix: ClassVar[str]

    @abstractmethod
    def check(self) -> None:
        """Raises `ImportError` or `RuntimeError` in one sentence where what it needs is not installed."""

    @abstractmethod
    def write(self, exported: torch.export.ExportedProgram, program: Program, facts: str, path: Path) -> None:
        """Makes the file; `facts` is a JSON text. Raises whatever torch does for an operator that it does not have."""

    @abstractmethod
    def load(self, path: Path) -> Run:
        """The file as another program would run it: tensors in the order of `Program.inputs` -> those of `outputs`."""


class Onnx(Format):
    """For ONNX Runtime and all else that reads ONNX."""

    name, default_name, suffix = "onnx", "policy.onnx", ".onnx"

    def check(self) -> None:
        """Needs the extra."""
        missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
        if missing:
            raise ImportError(f"ONNX needs {', '.join(missing)}: install a3c-fast with the extra `export`")

    def write(self, exported: torch.export.ExportedProgram, program: Program, facts: str, path: Path) -> None:
        """One file with the parameters in it."""
        made = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=[port.name for port in program.inputs],
            output_names=[port.name for port in program.outputs],
            dynamic_shapes=tuple({0: "batch"} for _ in program.inputs),
            verbose=False,
        )
        assert made is not None
        for node in made.model.graph:
            node.metadata_props.clear()  # files and lines of this machine
        made.model.metadata_props[KEY] = facts
        made.save(str(path), external_data=False)

    def load(self, path: Path) -> Run:
        """On the CPU, by ONNX Runtime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]

        def run(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            arrays = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
            return [torch.from_numpy(array) for array in session.run(None, arrays)]

        return run


class TorchExport(Format):
    """For programs with PyTorch: `torch.export.load`."""

    name, default_name, suffix = "torch.export", "policy.pt2", ".pt2"

    def check(self) -> None:
        """Needs nothing."""

    def write(self, exported: torch.export.ExportedProgram, program: Program, facts: str, path: Path) -> None:
        """An archive, with what it says of itself as a file."""
        torch.export.save(exported, path, extra_files={_EXTRA_FILE: facts})

    def load(self, path: Path) -> Run:
        """Its module."""
        module = torch.export.load(path).module()
        return lambda inputs: list(module(*inputs))


class Aoti(Format):
    """Compiled, for programs with LibTorch, in C++ or Python: AOTInductor's package."""

    name, default_name, suffix = "aoti", "policy.aoti.pt2", ".pt2"

    def check(self) -> None:
        """Needs a C++ compiler."""
        from torch._inductor import cpp_builder, exc

        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler as error:
            raise RuntimeError(
                "aoti needs a C++ compiler, and there is none: install g++, or name one in the environment variable CXX"
            ) from error

    def write(self, exported: torch.export.ExportedProgram, program: Program, facts: str, path: Path) -> None:
        """Takes a minute of one core, of which the most is the compiler's."""
        settings = {
            "aot_inductor.metadata": {KEY: facts},
            "compile_threads": 1,  # there is one file to compile: a pool of processes would only be left behind
            "cpp.dynamic_threads": True,  # as many as where it runs, and not as here
        }
        torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=settings)

    def load(self, path: Path) -> Run:
        """As C++ loads it, behind a few lines of Python."""
        loaded = torch._inductor.aoti_load_package(str(path))
        return lambda inputs: list(loaded(*inputs))


FORMATS: dict[str, Format] = {format_.name: format_ for format_ in (Onnx(), TorchExport(), Aoti())}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what torch warns of and writes to its log meanwhile: an error's sentence tells."""
    logger = logging.getLogger("torch")
    level = logger.level
    with warnings.catch_warnings(), silent():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def failed(format_: Format, error: Exception) -> str:
    """Why a file could not be made, in one line."""
    causes, cause = [str(error)], error.__cause__
    while cause is not None:
        causes.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    for text in causes:
        if "No ONNX function found" in text:
            missing = text.partition("No ONNX function found for ")[2].split(".", 1)[0].split("\n")[0]
            return f"{missing} has no form in ONNX"
    return line_of(error)


def facts_of(path: Path) -> dict[str, Any] | None:
    """What an exported file says of itself, None for a file that a3c_fast has not exported."""
    with contextlib.suppress(Exception):  # whatever readers of other formats raise for what is none
        text = _in_archive(path) if zipfile.is_zipfile(path) else _in_onnx(path)
        found = json.loads(text) if text is not None else None
        return found if isinstance(found, dict) else None
    return None


def _in_archive(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > _MOST_METADATA_BYTES:
                continue
            if entry.filename.endswith(f"/extra/{_EXTRA_FILE}"):
                return archive.read(entry).decode()
            if entry.filename.endswith("wrapper_metadata.json"):
                return str(json.loads(archive.read(entry))[KEY])
    return None


def _in_onnx(path: Path) -> str | None:
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
