"""A folder that one process builds, all processes of the node share, and the last of them removes."""

import atexit
import fcntl
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from salt.errors import DataError

log = logging.getLogger(__name__)


class Lease:
    """The use of one shared folder.

    A file beside the folder is locked for as long as the folder is used, by the system's ``flock``: shared by its
    users, exclusive by who builds or removes it. The system frees the locks of a process however it ends, so a folder
    that nobody holds is a leftover, and is never trusted.

    Args:
        folder: Where the shared folder is.
        name: Its name, which says what it holds: who asks for the same name gets the same content.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self._beside = folder / f"{name}.part"
        self._lock = folder / f"{name}.lock"
        self._descriptor: int | None = None
        self._process = 0

    def acquire(self, build: Callable[[Path], None]) -> None:
        """Takes a share in the folder, which is complete when this returns.

        Args:
            build: Fills the empty folder that it is given; called if no other process has the folder.

        Raises:
            DataError: The folder belongs to another user.
            OSError: It cannot be made or locked.
        """
        while not self._try(build):
            self._close()
        self._process = os.getpid()
        atexit.register(self.release)

    def release(self) -> None:
        """Gives the share back, and removes the folder if it was the last one; does nothing in a forked process."""
        if self._descriptor is None or self._process != os.getpid():
            return
        atexit.unregister(self.release)
        if _locked(self._descriptor, fcntl.LOCK_EX):
            self._remove()
        self._close()

    def discard_leftover(self) -> None:
        """Removes the folder if no process holds it."""
        self._open()
        if self._descriptor is not None and _locked(self._descriptor, fcntl.LOCK_EX) and self._is_current():
            self._remove()
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
            self._beside.mkdir(mode=0o700)
            build(self._beside)
            self._beside.rename(self.path)
        except BaseException:
            self._remove()
            self._close()
            raise

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._lock, flags, 0o600)
        if os.fstat(self._descriptor).st_uid != os.geteuid():
            self._close()
            raise DataError(f"data.move_files_temp: {self._lock} belongs to another user; choose a folder of your own")

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
            shutil.rmtree(self._beside, ignore_errors=True)
            self.path.rename(self._beside)
        if self._beside.is_dir():
            shutil.rmtree(self._beside)

    def _close(self) -> None:
        if self._descriptor is not None:
            # Forked processes share the lock: closing alone would leave it to them.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


def discard_leftovers(folder: Path, prefix: str) -> None:
    """Removes the shared folders whose names begin with `prefix` and that no process holds."""
    names = [path.name for path in folder.glob(f"{prefix}*")]
    for name in sorted({name.removesuffix(".lock").removesuffix(".part") for name in names}):
        Lease(folder, name).discard_leftover()


def _locked(descriptor: int, kind: int) -> bool:
    """Locks if that is possible at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
