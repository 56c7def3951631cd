"""What the agent asks of the C library and the system, as these tell it."""

import ctypes
import mmap
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.memory import let_go

_PAGE = mmap.PAGESIZE
_READ, _WRITE, _PRIVATE, _FIXED = 1, 2, 2, 16
_SMAPS = Path("/proc/self/smaps")

# glibc tells of each heap that it has, when threads have asked for memory.
_PROGRAM = """
import ctypes, threading
from edge_agent.memory import share_heap

share_heap()
libc = ctypes.CDLL(None)
both = threading.Barrier(3)

def ask():
    libc.malloc(1000)
    both.wait()

for _ in range(2):
    threading.Thread(target=ask).start()
both.wait()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""

linux = pytest.mark.skipif(not _SMAPS.exists(), reason="not Linux")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_threads_share_one_heap() -> None:
    """A heap for each thread would cost a small board some MB, for nothing."""
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )

    assert run.stdout.count("<heap nr=") == 1


class Library:
    """A file of three pages, mapped as the loader maps a library's.

    The first is as in the file, the second was written to and then closed to writing,
    and the third can be written to.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"f" * (3 * _PAGE))
        self._libc = ctypes.CDLL(None)
        self._libc.mmap.restype = ctypes.c_void_p
        with path.open("rb") as file:
            self.start = self._map(file.fileno(), 0, _READ, _PRIVATE)
            self._map(file.fileno(), 1, _READ | _WRITE, _PRIVATE | _FIXED)
        for page in (1, 2):
            ctypes.memset(self.start + page * _PAGE, ord("w"), _PAGE)
        self.close_to_writing(1)
        assert self.text() == b"fww"

    def _map(self, file: int, first: int, ways: int, flags: int) -> int:
        """Map its pages from one on, and return where they begin."""
        place = ctypes.c_void_p(self.start + first * _PAGE if first else None)
        size, offset = (3 - first) * _PAGE, ctypes.c_long(first * _PAGE)
        found: int = self._libc.mmap(
            place, ctypes.c_size_t(size), ways, flags, file, offset
        )
        return found

    def close_to_writing(self, page: int) -> None:
        """Let a page be read only, from now on."""
        place = ctypes.c_void_p(self.start + page * _PAGE)
        assert self._libc.mprotect(place, ctypes.c_size_t(_PAGE), _READ) == 0

    def text(self) -> bytes:
        """Return the first byte of each page, which maps them all."""
        return b"".join(ctypes.string_at(self.start + n * _PAGE, 1) for n in range(3))

    def is_mapped(self, page: int) -> bool:
        """Whether a page counts as this process's; it may be of a larger part."""
        place = self.start + page * _PAGE
        for part in re.split(r"(?m)^(?=[0-9a-f]+-)", _SMAPS.read_text())[1:]:
            start, end = (int(each, 16) for each in part.split()[0].split("-"))
            if start <= place < end:
                return "\nRss:                   0 kB\n" not in part
        raise ValueError(page)

    def unmap(self) -> None:
        """Take it away."""
        self._libc.munmap(ctypes.c_void_p(self.start), ctypes.c_size_t(3 * _PAGE))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    found = Library(tmp_path / "library.so")
    yield found
    found.unmap()


@linux
def test_what_only_the_start_touched_is_resident_no_more(library: Library) -> None:
    """15 MB of a small board would else count as the agent's for as long as it runs."""
    assert library.is_mapped(0)

    let_go()

    assert not library.is_mapped(0)
    assert library.text() == b"fww"
    assert library.is_mapped(0)


@linux
def test_what_was_written_to_a_library_stays(library: Library) -> None:
    """Addresses that the loader filled in would be gone, and the agent with them."""
    let_go()

    assert library.is_mapped(1)
    assert library.is_mapped(2)
    assert library.text() == b"fww"


@linux
def test_what_was_swapped_out_of_a_library_stays(
    library: Library, tmp_path: Path
) -> None:
    """A board that runs short writes it away: it is not in memory, nor in the file."""
    swapped = tmp_path / "smaps"
    swapped.write_text(re.sub(r"\nSwap: +0 kB", "\nSwap: 4 kB", _SMAPS.read_text()))

    let_go(swapped)

    assert library.is_mapped(0)


@linux
def test_a_library_that_is_being_loaded_is_left_alone(library: Library) -> None:
    """Until its last part is there, the loader may still write to all of them."""
    library.close_to_writing(2)

    let_go()

    assert library.is_mapped(0)


def test_where_nobody_tells_what_is_mapped_nothing_happens(
    tmp_path: Path,
) -> None:
    """An agent without /proc would end with its start, for the sake of some MB."""
    let_go(tmp_path / "none")
