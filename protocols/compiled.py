"""Compiled kernels on this machine: where they are kept, and how they are made.

The one module of the protocols that touches the disk, for station, gateway and
benchmarks share what it keeps:

    <cache>/kernels/<stamp>/kernels.so   native code, made ahead of time; or
    <cache>/kernels/<stamp>/numba-…/     what numba keeps, where no C compiler is
    <cache>/kernels/<stamp>/digests      SHA-256 of each of these files

The stamp names the kernels with all that they compute from, Python and the kind of
machine: what was made of other kernels is never looked at. Native code is loaded
from a folder that nobody but its owner can enter, and only whole, as it was made.
"""

import asyncio
import fcntl
import gc
import json
import os
import shutil
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from importlib import import_module, metadata, util
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from pathlib import Path
from tempfile import mkdtemp
from types import FunctionType
from typing import Any

import numpy as np

from protocols import kernel

_FORMAT = 1
_MODULE = "vitalwire_kernels"
_NATIVE = "kernels.so"
_DIGESTS = "digests"
_PART = "part-"
# For the C code around the kernels, which takes the C compiler half as long so.
_C_FLAGS = ["-O1", "-g0"]
_BUILDERS = ("numba.pycc", "numba.pycc.compiler", "setuptools.errors")
_KEPT = 8  # of other versions of the package, and of other sets of kernels
_LEAST_URGENT = 19
_GARBAGE = 30_000  # objects more, after which Python looks for it
_BITS = struct.calcsize("P") * 8


class Unusable(Exception):
    """Compiled kernels can't be made or used here; the text says why."""


class NotMade(Unusable):
    """None were made yet for these kernels."""


def place() -> Path:
    """Return the folder of this user's compiled kernels; make it if needed.

    It is ``kernels`` in the first that is set: systemd's ``$CACHE_DIRECTORY``,
    ``$XDG_CACHE_HOME/vitalwire``, ``~/.cache/vitalwire``.

    Raises:
        Unusable: It can't be made, or others could put code there.
    """
    given = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    shared = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - pathlib's raises where there is no home
    folder = (Path(given) if given else Path(shared, "vitalwire")) / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise Unusable(
            f"no place for compiled kernels: {folder}: {error.strerror}; set "
            "XDG_CACHE_HOME to a folder that can be written"
        ) from error
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise Unusable(
            f"{folder} must belong to the user who runs this, and be closed to "
            f"others: chmod 700 {folder}"
        )
    return folder


def load() -> None:
    """Let the kernels that were made here answer, if they are whole.

    Raises:
        NotMade: There are none for the kernels that were imported.
        Unusable: They can't be used.
    """
    folder = place() / _stamp()
    _check(folder)
    if (folder / _NATIVE).exists():
        _load_native(folder / _NATIVE)
    elif (folder / _numba_name()).exists():
        # One collection over all of numba's objects would hold everybody up.
        gc.disable()
        try:
            _just_in_time(folder)
        finally:
            gc.freeze()
            gc.enable()
    else:
        raise NotMade("the kernels were compiled for another numba")


def make(tell: Callable[[str], object]) -> Path:
    """Compile the kernels that were imported, in this process, and keep them.

    Args:
        tell: Given a line about what is done, and how.

    Returns:
        The folder in which they are.

    Raises:
        Unusable: It can't be done here.
    """
    _must_be_possible()
    with _locked(place()) as folder, _collected_rarely():
        made = folder / _stamp()
        try:
            _check(made)
        except NotMade:
            _fill(made, tell)
        _forget(folder, made)
    return made


@contextmanager
def _collected_rarely() -> Iterator[None]:
    """Have Python look for garbage less often: that took a tenth of all compiling."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GARBAGE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def is_native(made: Path) -> bool:
    """Whether what `make` made was made ahead of time, and needs no numba."""
    return (made / _NATIVE).exists()


async def warm() -> str | None:
    """Let compiled kernels answer as soon as there are any; wait for nothing else.

    What was not made yet is made by a process of its own, which gives way to all
    others, so that this one never compiles.

    Returns:
        Why the plain forms go on answering; None if they do not.
    """
    if not kernel.kernels():
        return None
    try:
        try:
            await asyncio.to_thread(load)
        except NotMade:
            await _make_elsewhere()
            await asyncio.to_thread(load)
    except Unusable as error:
        return f"{error}; the plain kernels serve"
    return None


async def _make_elsewhere() -> None:
    _must_be_possible()
    modules = sorted({found.plain.__module__ for found in kernel.kernels()})
    maker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__, *modules),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, told = await maker.communicate()
    finally:
        if maker.returncode is None:
            maker.kill()
    if maker.returncode:
        last = told.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unusable(last or f"compiling ended with status {maker.returncode}")


def _must_be_possible() -> None:
    if _BITS != 64:
        raise Unusable(f"this Python has {_BITS} bits, and numba needs 64")
    if util.find_spec("numba") is None:
        raise Unusable("numba is not installed")


def _stamp() -> str:
    """Return the name of what was made of just these kernels, for this Python."""
    facts = (_FORMAT, kernel.fingerprint(), EXTENSION_SUFFIXES[0], np.__version__[:2])
    return sha256(repr(facts).encode()).hexdigest()[:24]


def _check(folder: Path) -> None:
    """Refuse what is not whole, as it was made."""
    try:
        digests = json.loads((folder / _DIGESTS).read_text())
        found = {name: _digest(folder / name) for name in digests}
    except (OSError, TypeError, ValueError) as error:
        raise NotMade("the kernels were not compiled yet") from error
    if not digests or found != digests:
        raise NotMade("the compiled kernels are damaged")


def _load_native(path: Path) -> None:
    loader = ExtensionFileLoader(_MODULE, str(path))
    try:
        native = util.module_from_spec(ModuleSpec(_MODULE, loader, origin=str(path)))
    except ImportError as error:
        raise Unusable(f"{path} can't be loaded: {error}") from error
    for number, found in enumerate(kernel.kernels()):
        forms = range(len(found.signatures))
        found.use_native([getattr(native, _export(number, form)) for form in forms])


def _fill(made: Path, tell: Callable[[str], object]) -> None:
    """Make the folder of that name anew, whole or not at all."""
    part = Path(mkdtemp(prefix=_PART, dir=made.parent))
    try:
        tell(f"compiling {len(kernel.kernels())} kernels into {made} ...")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # pycc is to be replaced, by nothing yet
                _ahead_of_time(part)
        except Unusable as error:
            tell(f"{error}; so numba will load the kernels at each start")
            _just_in_time(part)
        files = [path for path in part.rglob("*") if path.is_file()]
        digests = {str(path.relative_to(part)): _digest(path) for path in files}
        (part / _DIGESTS).write_text(json.dumps(digests, indent=1))
        for path in (*files, part / _DIGESTS):
            with path.open("rb") as whole:
                os.fsync(whole.fileno())
        shutil.rmtree(made, ignore_errors=True)
        part.replace(made)
    except OSError as error:
        raise Unusable(f"{made}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _just_in_time(folder: Path) -> None:
    """Load what numba kept of the kernels, or let it compile and keep them."""
    if problem := kernel.warm(str(folder / _numba_name())):
        raise Unusable(problem.partition(";")[0])


def _numba_name() -> str:
    """Return the name of what numba keeps: it looks at its version and at sources."""
    try:
        digest = sha256(metadata.version("numba").encode())
    except metadata.PackageNotFoundError as error:
        raise Unusable("numba is not installed") from error
    for path in sorted(
        {found.plain.__code__.co_filename for found in kernel.kernels()}
    ):
        digest.update(path.encode() + Path(path).read_bytes())
    return f"numba-{digest.hexdigest()[:16]}"


def _ahead_of_time(folder: Path) -> None:
    """Build the extension module; it runs on any processor of this kind."""
    try:
        kernel.import_numba()
        pycc, compiler, errors = map(import_module, _BUILDERS)
        built = pycc.CC(_MODULE, source_module=kernel)
    except (ImportError, RuntimeError) as error:
        raise Unusable(_wants(error)) from error
    # pycc has no way to ask for these; it finds its flags by these names.
    vars(compiler)["Flags"] = partial(_flags, vars(compiler)["Flags"])
    # The others are for lists, dictionaries and sets, of which a kernel has none.
    vars(built)["_mixin_sources"] = ["modulemixin.c"]
    vars(built)["_extra_cflags"] = {"posix": _C_FLAGS}
    linked: dict[FunctionType, object] = {}
    built.output_dir, built.output_file = str(folder), _NATIVE
    built.use_nrt = False
    for number, found in enumerate(kernel.kernels()):
        whole = kernel.link(found.plain, kernel.compile_inner, linked)
        for form, signature in enumerate(found.signatures):
            built.export(_export(number, form), signature)(whole)
    try:
        built.compile()
    except (errors.BaseError, errors.CCompilerError) as error:
        raise Unusable(_wants(error)) from error


def _flags(plain: Callable[[], Any]) -> Any:  # noqa: ANN401 - numba's own
    found = plain()
    found.release_gil = kernel.OPTIONS["nogil"]
    found.error_model = kernel.OPTIONS["error_model"]
    found.no_cfunc_wrapper = kernel.OPTIONS["no_cfunc_wrapper"]
    found.no_rewrites = kernel.OPTIONS["no_rewrites"]
    return found


def _wants(error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"can't compile ahead of time ({reason:.120}); 'apt install g++ python3-dev' "
        "and 'pip install setuptools' bring what is needed"
    )


def _export(number: int, form: int) -> str:
    return f"kernel_{number}_{form}"


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _forget(folder: Path, made: Path) -> None:
    """Remove all but the newest that were made, and what was left half made."""
    found = [path for path in folder.iterdir() if path.is_dir() and path != made]
    halves = [path for path in found if path.name.startswith(_PART)]
    others = [path for path in found if path not in halves]
    others.sort(key=lambda path: path.stat().st_mtime)
    for path in (*halves, *others[: 1 - _KEPT]):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Let one process at a time make something; the next finds it made."""
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    except OSError as error:
        raise Unusable(f"{folder}: {error.strerror}") from error


def main(modules: list[str]) -> int:
    """Make the kernels of some modules; return the exit status."""
    os.nice(_LEAST_URGENT)
    for name in modules:
        import_module(name)
    try:
        make(lambda _: None)
    except Unusable as error:
        print(error, file=sys.stderr)  # noqa: T201 - read by who started it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
