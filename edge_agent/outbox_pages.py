"""An outbox's pages: of its file, and of the log that SQLite writes each commit to.

SQLite plays a log back up to the last commit before the first damaged frame, and then
writes over what is behind it, without a word. Here a file is read as all of its frames
make it, up to the last commit there is.

    log: magic | version | size of a page | checkpoints | salt 1, 2 | checksum 1, 2
    frame: number of its page | pages of the file if it ends a commit, else 0
           | salt 1, 2 | checksum 1, 2 | the page

All are u32, big-endian. Frames of an earlier log, with other salts, may stand behind.

Source: SQLite's Database File Format, 1.3 The Database Header, 4 The Write-Ahead Log.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from struct import Struct, pack, unpack
from typing import NamedTuple

import apsw

_PAGE = 4096  # bytes, as SQLite makes them
_HEAD = 32  # bytes of a log before its frames
_FRAME = Struct(">II8s8x")
_SUMMED = {0x377F0682: "<6I", 0x377F0683: ">6I"}  # how, by magic
_FILE_HEAD = 100  # bytes of the first page before its own rows
_COUNT = slice(28, 32)  # of which this is how many pages there are
_LEAST = 64  # pages; of a new file each table begins before

_SPACE = re.compile(r"--.*|\s+")  # and comments, which may be worded anew

_Schema = list[tuple[str, str]]
_Roots = set[tuple[str, int]]


def schema_of(db: apsw.Connection) -> _Schema:
    """Return names of a file's tables and indexes, and what they were made by.

    In the order of their names: VACUUM changes their own, and ANALYZE adds a table.
    """
    rows = db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE substr(name, 1, 7) <> 'sqlite_' "
        "ORDER BY name"
    )
    return [(str(name), _SPACE.sub("", str(sql))) for name, sql in rows]


def made_by(schemas: Sequence[str]) -> tuple[list[_Schema], _Roots, bytes]:
    """Return what a new file is like.

    Args:
        schemas: What makes each version from the version before.

    Returns:
        The schema of each version, 0 of an empty file; where each table of version 1
        begins, which is so in every file; and the first page of the last version.
    """
    with closing(apsw.Connection(":memory:")) as db:
        found, roots = [schema_of(db)], set[tuple[str, int]]()
        for schema in schemas:
            db.execute(schema)
            found.append(schema_of(db))
            roots = roots or _roots(db)
        return found, roots, db.serialize("main")[:_PAGE]


def _roots(db: apsw.Connection) -> _Roots:
    rows = db.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'")
    return {(str(name), int(page or 0)) for name, page in rows}


def commits_behind(log: Path, known: int) -> int:
    """Return how many commits stand where SQLite does not look; 2 is two or more.

    One is the last one, which a power cut broke off before anybody was told of it, its
    blocks coming to the disk in any order; or which a bad block damaged since. Of two
    one was flushed.

    Args:
        log: The log.
        known: How many of its frames SQLite plays back.
    """
    opened = _Log(log)
    opened.xClose()
    behind = [frame for frame in opened.frames[known:] if frame is not None]
    pages = [frame.page for frame in behind]
    # The head was flushed before any frame; a commit has each page once.
    is_one = opened.has_head and len({*pages}) == len(pages)
    count = sum(frame.pages > 0 for frame in behind)
    return min(count if is_one else 2 * count, 2)


class Mended(apsw.Connection):
    """A connection to read a file by, whatever became of its first page and its log."""

    def __init__(self, path: Path, first: bytes, known: int | None) -> None:
        """Open a file that nobody writes to.

        Args:
            path: The file.
            first: What to begin its first page with: the head, or all of it.
            known: How many frames of its log to play in; None for all.
        """
        self._vfs = _Vfs(first, known)
        uri = f"{path.absolute().as_uri()}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        super().__init__(uri, flags=flags, vfs=self._vfs.name)

    def pages(self) -> Iterator[bytes]:
        """Yield all pages; zeros for what can't be read."""
        file = self._vfs.file
        return (file.page(number) for number in range(1, file.count + 1))


def mended(
    path: Path, schemas: Sequence[str], known: int | None
) -> tuple[Mended, int | None]:
    """Return a connection to read a file by, and which version it is of.

    None is one whose first page is beyond belief. Where each table begins is then known
    of those of version 1, and in a file that was new with this version of all others.

    Args:
        path: The file; nobody writes to it.
        schemas: What makes each version of it from the version before.
        known: How many frames of its log to play in; None for all.
    """
    versions, roots, fresh = made_by(schemas)
    db = Mended(path, fresh[:_FILE_HEAD], known)
    with suppress(apsw.Error, UnicodeDecodeError, ValueError):
        if roots <= _roots(db):
            return db, versions.index(schema_of(db))
    db.close()
    return Mended(path, fresh, known), None


class _Vfs(apsw.VFS):
    """Opens one file, mended."""

    file: "_File"

    def __init__(self, first: bytes, known: int | None) -> None:
        self.name, self._made = f"mended-{id(self)}", (first, known)
        super().__init__(self.name, "")

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        if not isinstance(name, apsw.URIFilename):
            return super().xOpen(name, flags)  # for itself, to sort in, say
        self.file = _File(name, flags, *self._made)
        return self.file


class _File(apsw.VFSFile):
    """A file as its log makes it.

    Attributes:
        count: Its pages.
    """

    def __init__(
        self,
        name: apsw.URIFilename,
        flags: list[int],
        first: bytes,
        known: int | None,
    ) -> None:
        super().__init__("", name, flags)
        log = Path(f"{name.filename()}-wal")
        self._log = _Log(log) if log.exists() else None
        frames = self._log.committed(known) if self._log else []
        count = -(-super().xFileSize() // _PAGE)
        told = [frame.pages for frame in frames if frame.pages <= count + len(frames)]
        self.count = max(_LEAST, count, *told)
        self._at = {frame.page: frame.at for frame in frames}
        page = bytearray(first + self._found(1)[len(first) :])
        page[_COUNT] = pack(">I", self.count)
        self._first = bytes(page)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        number, start = divmod(offset, _PAGE)
        return self.page(number + 1)[start : start + amount]

    def xFileSize(self) -> int:  # noqa: N802
        return self.count * _PAGE

    def xClose(self) -> None:  # noqa: N802
        if self._log:
            self._log.xClose()
        super().xClose()

    def page(self, number: int) -> bytes:
        return self._first if number == 1 else self._found(number)

    def _found(self, number: int) -> bytes:
        """Return a page as it was last written, or else as it was before."""
        found = b""
        if self._log and number in self._at:
            found = _read(self._log.xRead, _PAGE, self._at[number])
        found = found or _read(super().xRead, _PAGE, (number - 1) * _PAGE)
        return found.ljust(_PAGE, b"\0")


class _Frame(NamedTuple):
    page: int
    pages: int
    at: int  # where its page begins in the log


class _Log(apsw.VFSFile):
    """A log to read.

    Attributes:
        has_head: Whether its head is whole.
        frames: All that have a place in it; None for one that is not of this log, or is
            no more.
    """

    def __init__(self, path: Path) -> None:
        flags = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READONLY
        super().__init__("", str(path), [flags, 0])
        head = _read(self.xRead, _HEAD, 0).ljust(_HEAD, b"\0")
        self.has_head = _is_head(head)
        frames, salts = [], []
        step = _FRAME.size + _PAGE
        for at in range(_HEAD, self.xFileSize() - step + 1, step):
            told = _read(self.xRead, _FRAME.size, at).ljust(_FRAME.size, b"\0")
            page, pages, salt = _FRAME.unpack(told)
            frames.append(_Frame(page, pages, at + _FRAME.size))
            salts.append(salt)
        ours = head[16:24] if self.has_head else _agreed(salts)
        self.frames = [
            frame if salt == ours else None
            for frame, salt in zip(frames, salts, strict=True)
        ]

    def committed(self, known: int | None) -> list[_Frame]:
        """Return the first frames, or all, up to the last that ends a commit."""
        found = [frame for frame in self.frames[:known] if frame is not None]
        while found and not found[-1].pages:
            del found[-1]
        return found


def _is_head(head: bytes) -> bool:
    """Return whether the head of a log has the right checksum."""
    how = _SUMMED.get(int.from_bytes(head[:4], "big"))
    if how is None:
        return False
    words = unpack(how, head[:24])
    one = two = 0
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return pack(">II", one, two) == head[24:]


def _agreed(salts: Sequence[bytes]) -> bytes:
    """Return the salts of a log without its head, by those of its frames."""
    ring = pairwise([*salts, *salts[:1]])  # a lone one agrees with itself
    return next((one for one, next_ in ring if one == next_ != bytes(8)), b"")


def _read(read: Callable[[int, int], bytes], size: int, at: int) -> bytes:
    """Return bytes of a file; none where its disk can't read them."""
    try:
        return read(size, at)
    except apsw.IOError:
        return b""
