"""A folder that one process builds, all processes of the node share, and the last of them removes."""

import atexit
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from salt.data.space import StorageError
from salt.files import last_acts

log = logging.getLogger(__name__)

LOCKS = Path("/proc/locks")
"""Where Linux lists the locks that are held."""


class Lease:
    """The use of one shared folder.

    A file beside the folder is locked for as long as the folder is used, by the system's ``flock``: shared by its
    users, exclusive by who builds or removes it. The system frees the locks of a process however it ends, so a folder
    that nobody holds is a leftover, and is never trusted.

    Args:
        folder: Where the shared folder is.
        name: Its name, which says what it holds: who asks for the same name gets the same content.

    Attributes:
        path: The shared folder, which is there when it is complete.
        unfinished: The same while it is built or removed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.unfinished = folder / f"{name}.part"
        self._lock = folder / f"{name}.lock"
        self._descriptor: int | None = None
        self._process = 0

    def acquire(self, build: Callable[[Path], None]) -> None:
        """Takes a share in the folder, which is complete when this returns.

        Args:
            build: Fills the empty folder that it is given; called if no other process has the folder.

        Raises:
            StorageError: The folder belongs to another user.
            OSError: It cannot be made or locked.
        """
        atexit.register(self.release)
        last_acts.append(self.release)
        while not self._try(build):
            self._close()

    def release(self) -> None:
        """Gives the share back, and removes the folder if it was the last one; does nothing in a forked process.

        Whatever interrupts it, it can be called again, and is called when the process ends.
        """
        if self._process != os.getpid():
            return
        if self._descriptor is not None and _locked(self._descriptor, fcntl.LOCK_EX) and self._is_current():
            try:
                self._remove()
            except OSError as error:
                log.warning("%s cannot be removed: %s", self.path, error.strerror or error)
        self._close()
        atexit.unregister(self.release)
        if self.release in last_acts:
            last_acts.remove(self.release)

    def discard_leftover(self) -> bool:
        """Removes the folder if no process holds it; returns whether that was so."""
        with self._alone() as alone:
            if alone:
                self._remove()
        return alone

    def is_begun(self) -> bool:
        """Whether the folder is there, or some process is about to make it."""
        return self.path.is_dir() or self.unfinished.is_dir()

    def is_held(self) -> bool:
        """Whether a process builds, uses or removes the folder."""
        if not self._lock.exists():
            return False
        with self._alone() as alone:
            if alone and not self.path.exists() and not self.unfinished.exists():
                self._remove()  # Nothing but the lock, which may just have been made by asking for it.
        return not alone

    def users(self) -> list[int]:
        """The processes that hold the folder, as far as the system tells."""
        try:
            found = self._lock.stat()
            lines = [line.split() for line in LOCKS.read_text().splitlines()]
        except OSError:
            return []
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        return [int(line[4]) for line in lines if line[1] == "FLOCK" and line[5] == place]

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Locks the folder for the block if no process holds it; yields whether that was possible."""
        self._open()
        try:
            assert self._descriptor is not None
            yield _locked(self._descriptor, fcntl.LOCK_EX) and self._is_current()
        finally:
            self._close()

    def _try(self, build: Callable[[Path], None]) -> bool:
        """One attempt; False if another process has removed the lock's file meanwhile."""
        self._open()
        descriptor = self._descriptor
        assert descriptor is not None
        if _locked(descriptor, fcntl.LOCK_EX):
            if not self._is_current():
                return False
            self._build(build)
        if not _locked(descriptor, fcntl.LOCK_SH):
            log.info("waiting for another training that prepares the same data in %s", self.path)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return self._is_current() and self.path.is_dir()

    def _build(self, build: Callable[[Path], None]) -> None:
        try:
            self._remove_folders()
            self.unfinished.mkdir(mode=0o700)
            build(self.unfinished)
            self.unfinished.rename(self.path)
        except BaseException:
            self._remove()
            self._close()
            raise

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._process = os.getpid()
        self._descriptor = os.open(self._lock, flags, 0o600)
        if os.fstat(self._descriptor).st_uid != os.geteuid():
            self._close()
            raise StorageError(
                f"data.move_files_temp: {self._lock} belongs to another user; choose a folder of your own"
            )

    def _is_current(self) -> bool:
        """Whether the lock is still that of the file with its name."""
        assert self._descriptor is not None
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._lock.lstat())
        except FileNotFoundError:
            return False

    def _remove(self) -> None:
        self._remove_folders()
        self._lock.unlink(missing_ok=True)

    def _remove_folders(self) -> None:
        # Removing takes a while; in the middle of it nothing may have the final name.
        if self.path.is_dir():
            shutil.rmtree(self.unfinished, ignore_errors=True)
            self.path.rename(self.unfinished)
        if self.unfinished.is_dir():
            shutil.rmtree(self.unfinished)

    def _close(self) -> None:
        if self._descriptor is not None:
            # Forked processes share the lock: closing alone would leave it to them.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int, kind: int) -> bool:
    """Locks if that is possible at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
