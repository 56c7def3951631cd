"""Compiled kernels on a disk: kept where only their owner can put them, and whole."""

import asyncio
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from protocols import compiled, kernel
from tests.protocols import some_kernels
from tests.protocols.some_kernels import double, ratio, scrambled

_ROOT = Path(__file__).parents[2]
_NO_C_COMPILER = {"CC": "/bin/false"}

pytestmark = pytest.mark.skipif(
    util.find_spec("numba") is None or "NUMBA_DISABLE_JIT" in os.environ,
    reason="nothing compiles here",
)

# What a process with a few kernels says of them.
_SCRIPT = """
import asyncio, sys
import numpy as np
from protocols import compiled, kernel
from tests.protocols import some_kernels
from tests.protocols.some_kernels import double, ratio, scrambled
problem = asyncio.run(compiled.warm())
print(problem)
print([found.is_compiled for found in (double, ratio, scrambled)])
print(scrambled(np.arange(-3, 100)), double(2), double(1.5), ratio(1.0, 0.0))
print("numba" in sys.modules)
"""
_ANSWERS = "13179978363 4 3.0 inf"  # of the plain forms


def _run(cache: Path, script: str = _SCRIPT, **environment: str) -> list[str]:
    left_out = {"NUMBA_CACHE_DIR", "CACHE_DIRECTORY"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=_ROOT,
        env={k: v for k, v in os.environ.items() if k not in left_out}
        | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(_ROOT)}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def _only(cache: Path) -> Path:
    """Return the one folder of compiled kernels that is there."""
    (found,) = (each for each in cache.rglob("*") if (each / "digests").exists())
    return found


@contextmanager
def _these(cache: Path, **environment: str) -> Iterator[pytest.MonkeyPatch]:
    """Have these kernels only, and keep them there."""
    kernels = [double, ratio, scrambled]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_kernels", kernels)
        patch.delenv("CACHE_DIRECTORY", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("PYTHONPATH", str(_ROOT))
        for name, value in environment.items():
            patch.setenv(name, value)
        yield patch
    for each in kernels:
        each.use(each.plain)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache in which the kernels were made ahead of time."""
    if which("g++") is None:
        pytest.skip("no C++ compiler")
    cache, told = tmp_path_factory.mktemp("native"), list[str]()
    with _these(cache):
        made = compiled.make(told.append)
    assert compiled.is_native(made)
    assert told == [f"compiling 3 kernels into {made} ..."]
    return cache


@pytest.fixture(scope="module")
def numbas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that numba filled, where no C compiler is."""
    cache, told = tmp_path_factory.mktemp("numbas"), list[str]()
    with _these(cache, **_NO_C_COMPILER):
        made = compiled.make(told.append)
    assert not compiled.is_native(made)
    assert "'apt install g++ python3-dev' and 'pip install setuptools'" in told[1]
    return cache


def _copy(cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cache, tmp_path / "cache"))


def test_kernels_made_ahead_of_time_need_no_numba(native: Path, tmp_path: Path) -> None:
    """A station whose memory has no room for numba reads at full speed."""
    (tmp_path / "numba.py").write_text("raise ImportError('none here')")
    path = os.pathsep.join((str(tmp_path), str(_ROOT)))

    found = _run(native, PYTHONPATH=path)

    assert found == ["None", "[True, True, True]", _ANSWERS, "False"]


def test_without_a_c_compiler_numba_loads_what_it_kept(numbas: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in numbas.rglob("*.nb?")}

    found = _run(numbas, **_NO_C_COMPILER)

    assert found == ["None", "[True, True, True]", _ANSWERS, "True"]
    assert before == {p: p.stat().st_mtime_ns for p in numbas.rglob("*.nb?")}, "anew"


@pytest.mark.parametrize("form", ["native", "numbas"])
def test_what_was_made_answers_as_the_plain_forms_do(
    form: str, request: pytest.FixtureRequest
) -> None:
    values = np.arange(-5, 2000)
    with _these(request.getfixturevalue(form)):
        assert asyncio.run(compiled.warm()) is None
        assert all(found.is_compiled for found in kernel.kernels())
        assert scrambled(values) == scrambled.plain(values)
        assert [double(3), double(1.5), ratio(1.0, 0.0)] == [6, 3.0, np.inf]


def test_what_is_there_is_not_made_again(native: Path) -> None:
    told: list[str] = []
    with _these(native):
        compiled.make(told.append)
    assert not told


def test_to_compile_leaves_garbage_to_be_collected_as_before(native: Path) -> None:
    """A process that goes on would grow by what nobody looks for any more."""
    before = gc.get_threshold()
    with _these(native):
        compiled.make(lambda _: None)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_native_code_looks_at_what_it_is_given(native: Path) -> None:
    """It would read the memory beside a float32 as numbers of the patient."""
    with _these(native):
        compiled.load()
        with pytest.raises(TypeError, match="scrambled takes"):
            scrambled(np.zeros(9, np.float32))


def test_an_agent_that_finds_none_has_a_child_make_them(tmp_path: Path) -> None:
    """It must never compile itself: a cuff that talks meanwhile talks once."""
    with _these(tmp_path, **_NO_C_COMPILER):
        assert asyncio.run(compiled.warm()) is None
        assert scrambled.is_compiled
    assert len(list(tmp_path.rglob("*.nbc"))) == 4


def test_what_another_numba_kept_is_made_anew(numbas: Path, tmp_path: Path) -> None:
    """It would compile in the agent's own process."""
    cache = _copy(numbas, tmp_path)
    (kept,) = cache.rglob("numba-*")
    digests = _only(cache) / "digests"
    kept.rename(kept.with_name("numba-0"))
    digests.write_text(digests.read_text().replace(kept.name, "numba-0"))

    with _these(cache), pytest.raises(compiled.NotMade, match="for another numba"):
        compiled.load()


def test_only_the_newest_are_kept(numbas: Path, tmp_path: Path) -> None:
    """An SD card must not fill up with every version there ever was."""
    cache = _copy(numbas, tmp_path)
    folder = _only(cache).parent
    for number in range(20):
        (folder / f"old-{number:02}").mkdir()
        os.utime(folder / f"old-{number:02}", (number, number))
    (folder / "part-of-a-killed-one").mkdir()
    with _these(cache):
        compiled.make(print)

    kept = {path.name for path in folder.iterdir() if path.is_dir()}
    assert kept == {_only(cache).name, *(f"old-{number}" for number in range(13, 20))}


@pytest.mark.parametrize("form", ["native", "numbas"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "undigested"])
def test_damaged_code_is_never_run(
    form: str, damage: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """After a power cut a file may end anywhere, and code in it would run wild."""
    cache = _copy(request.getfixturevalue(form), tmp_path)
    code = max(_only(cache).rglob("*"), key=lambda path: path.stat().st_size)
    whole = code.read_bytes()
    match damage:
        case "cut":
            code.write_bytes(whole[: len(whole) // 2])
        case "changed":
            code.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        case "gone":
            code.unlink()
        case _:
            (_only(cache) / "digests").write_text("{}")

    with _these(cache), pytest.raises(compiled.NotMade):
        compiled.load()


def test_damaged_code_is_made_anew(native: Path, tmp_path: Path) -> None:
    """A card that lost a block must not slow the station down for ever."""
    cache = _copy(native, tmp_path)
    (_only(cache) / "kernels.so").write_bytes(b"")

    assert _run(cache) == ["None", "[True, True, True]", _ANSWERS, "False"]


def test_code_of_other_kernels_is_not_looked_at(native: Path) -> None:
    """An update of the package must not run what was compiled of the old one."""
    with _these(native) as patch:
        patch.setattr(some_kernels, "STEPS", np.array([3, 5, 8]))
        with pytest.raises(compiled.NotMade, match="not compiled yet"):
            compiled.load()


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_others_cannot_put_code_there(mode: int, native: Path, tmp_path: Path) -> None:
    """What lies there is run: somebody else's file would be somebody else's agent."""
    cache = _copy(native, tmp_path)
    folder = _only(cache).parent
    folder.chmod(mode)

    with _these(cache), pytest.raises(compiled.Unusable) as refused:
        compiled.load()

    assert str(refused.value) == (
        f"{folder} must belong to the user who runs this, and be closed to others: "
        f"chmod 700 {folder}"
    )


def test_where_nothing_can_be_kept_the_plain_kernels_serve(tmp_path: Path) -> None:
    """A read-only root file system must not keep the agent from starting."""
    (tmp_path / "cache").touch()  # a file where the folder would be

    with _these(tmp_path / "cache"):
        problem = asyncio.run(compiled.warm())
        assert not scrambled.is_compiled

    assert problem == (
        f"no place for compiled kernels: {tmp_path}/cache/vitalwire/kernels: Not a "
        "directory; set XDG_CACHE_HOME to a folder that can be written; the plain "
        "kernels serve"
    )


def test_without_numba_the_plain_kernels_serve(tmp_path: Path) -> None:
    """32-bit Pi OS has no wheel of it; its readings are sent all the same."""
    (tmp_path / "numba.py").write_text("raise ImportError('no wheel')")
    path = os.pathsep.join((str(tmp_path), str(_ROOT)))

    problem, are_compiled, answers, _ = _run(tmp_path, PYTHONPATH=path)

    assert problem == "numba is not installed (no wheel); the plain kernels serve"
    assert [are_compiled, answers] == ["[False, False, False]", _ANSWERS]


def test_a_python_of_32_bits_does_not_even_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may run on a 64-bit system, whose wheels it can't use."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "_BITS", 32)

    with pytest.raises(compiled.Unusable, match="this Python has 32 bits, and numba"):
        compiled.make(print)


def test_the_agent_and_its_command_start_without_numba() -> None:
    """Importing it takes half a second and 60 MB, for which no reading waits."""
    script = "import sys, edge_agent.cli, edge_agent.app; print('numba' in sys.modules)"

    assert _run(Path("unused"), script) == ["False"]


def test_the_place_is_the_first_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    found = [compiled.place()]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found.append(compiled.place())
    monkeypatch.setenv("CACHE_DIRECTORY", f"{tmp_path}/systemd:/other")
    found.append(compiled.place())

    assert found == [
        tmp_path / "home" / ".cache" / "vitalwire" / "kernels",
        tmp_path / "xdg" / "vitalwire" / "kernels",
        tmp_path / "systemd" / "kernels",
    ]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o700}
