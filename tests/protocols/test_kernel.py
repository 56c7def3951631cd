"""What a kernel is, plain and compiled, wherever it runs."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols import kernel as runtime
from protocols.kernel import Kernel, kernel
from tests.protocols import some_kernels
from tests.protocols.some_kernels import I8, double, ratio, scrambled

_ROOT = Path(__file__).parents[2]
_VALUES = np.arange(-5, 2000)


@pytest.fixture
def only_these(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the other kernels of this process alone, for compiling takes long."""
    these: list[Kernel[..., Any]] = [double, ratio, scrambled]
    monkeypatch.setattr(runtime, "_kernels", these)
    yield
    for each in these:
        each.use(each.plain)


@pytest.fixture
def warm(only_these: None) -> None:  # noqa: ARG001
    problem = runtime.warm()
    if problem is not None:
        pytest.skip(problem)


@pytest.mark.usefixtures("warm")
def test_a_kernel_answers_before_and_after_it_is_compiled_alike() -> None:
    """The agent starts on plain forms: what it sends must not change on the way."""
    assert scrambled.is_compiled
    assert scrambled(_VALUES) == scrambled.plain(_VALUES)


@pytest.mark.usefixtures("warm")
def test_a_kernel_takes_each_of_its_types_and_no_other() -> None:
    """Types that nobody named would compile for seconds in the middle of a visit."""
    assert [double(3), double(1.5)] == [6, 3.0]
    assert [type(double(3)), type(double(1.5))] == [int, float]
    with pytest.raises(TypeError, match="No matching definition"):
        scrambled(_VALUES.astype(np.int8))


@pytest.mark.usefixtures("only_these")
def test_a_kernel_that_makes_an_array_is_refused() -> None:
    """Nothing counts who uses it: it would never be given back."""

    def makes(values: I8) -> int:
        return len(np.zeros(len(values)))

    made = kernel("i8(i8[::1])")(makes)
    problem = runtime.warm()
    assert problem is not None
    assert not made.is_compiled
    if "numba can't compile here" not in problem:
        pytest.skip(problem)
    assert "function zeros" in problem


def test_the_plain_form_answers_until_then() -> None:
    assert not scrambled.is_compiled
    assert scrambled.sure(_VALUES) == scrambled.plain(_VALUES)
    assert scrambled(_VALUES) == scrambled.plain(_VALUES)


def _form(name: str) -> Callable[..., Any]:
    def form(*_: object) -> str:
        return name

    return form


@pytest.fixture
def native(only_these: None) -> None:  # noqa: ARG001
    double.use_native([_form("int"), _form("float")])
    scrambled.use_native([_form("array")])


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("value", "form"),
    [(3, "int"), (np.int32(3), "int"), (True, "int"), (1.5, "float")],
)
def test_a_native_form_is_chosen_by_what_it_is_given(value: float, form: str) -> None:
    assert str(double(value)) == form


@pytest.mark.usefixtures("native")
def test_a_native_form_never_sees_what_it_would_read_wrongly() -> None:
    """It believes its arguments: a float32 read as int64 ends the process."""
    frozen = np.arange(4)
    frozen.flags.writeable = False
    crooked = np.frombuffer(bytearray(33), np.uint8)[1:].view(np.int64)
    wrong: list[object] = [
        np.arange(4, dtype=np.int32),
        np.arange(4, dtype=np.uint64),
        np.arange(4, dtype=">i8"),
        np.zeros(4),
        np.zeros((2, 2), dtype=np.int64),
        np.arange(8)[::2],
        frozen,
        crooked,
        [1, 2],
        7,
        None,
    ]
    assert str(scrambled(np.arange(4))) == "array"
    for value in wrong:
        with pytest.raises(TypeError, match=r"scrambled takes i8\(i8\[::1\]\)"):
            scrambled(value)  # type: ignore[arg-type]
    for count in (0, 2):
        with pytest.raises(TypeError, match="scrambled takes"):
            scrambled(*[np.arange(4)] * count)


@pytest.mark.usefixtures("native")
def test_who_is_sure_of_what_is_given_is_believed_where_there_is_no_choice() -> None:
    """A short message takes less time than a look at what it is unpacked into."""
    assert str(scrambled.sure([1, 2])) == "array"  # type: ignore[arg-type]
    assert [str(double.sure(3)), str(double.sure(1.5))] == ["int", "float"]
    with pytest.raises(TypeError, match="double takes"):
        double.sure("3")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "signature",
    ["", "i8", "i8(i8", "i8(q7)", "i8(i8[::1]", "i8(Tuple((i8, i8)))", "i8(i8 i8)"],
)
def test_a_signature_that_cannot_be_checked_is_our_own_mistake(signature: str) -> None:
    with pytest.raises(ValueError, match="is no signature of numbers and arrays"):
        kernel(signature)(abs)


@pytest.mark.usefixtures("only_these")
def test_the_fingerprint_changes_with_all_that_a_kernel_computes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Code that was compiled of an older table must not answer."""
    before = runtime.fingerprint()
    assert runtime.fingerprint() == before

    monkeypatch.setattr(some_kernels, "STEPS", np.array([3, 5, 8]))
    other_table = runtime.fingerprint()
    monkeypatch.undo()
    monkeypatch.setattr(ratio, "signatures", ("f4(f4, f4)",))
    other_types = runtime.fingerprint()
    monkeypatch.undo()
    monkeypatch.setattr(runtime, "_kernels", [double, ratio])
    fewer = runtime.fingerprint()

    assert len({before, other_table, other_types, fewer}) == 4


def test_the_fingerprint_of_what_it_cannot_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that may change unseen would leave old code in use."""
    monkeypatch.setattr(some_kernels, "STEPS", {0: 3})
    monkeypatch.setattr(runtime, "_kernels", [scrambled])

    with pytest.raises(TypeError, match="_step names STEPS, of type dict"):
        runtime.fingerprint()


def test_importing_kernels_does_not_import_numba() -> None:
    """It takes half a second and 60 MB, which nobody waits for."""
    script = (
        "import sys; import protocols.compiled, tests.protocols.some_kernels;"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
