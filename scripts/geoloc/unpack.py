"""Archives of images from elsewhere, unpacked without trust: nothing gets outside the folder, no
more than was announced is written, and the folder appears only when complete."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from geoloc.archives import ArchiveError
from geoloc.archives.tars import StrictTarInfo
from geoloc.progress import Progress

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_EXPANSION = 20  # of an archive of pictures, which hardly shrink; a bomb expands a thousandfold
SMALL = 256 << 20  # bytes below which an archive may expand as it likes
MAX_FILES = 50_000_000
CHUNK = 1 << 20  # bytes
DAMAGED = (tarfile.ReadError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


class DamagedArchive(ArchiveError):
    """The bytes are no whole archive; fetched anew, it may be one."""


class _Budget:
    """How much an archive may still write."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self.files = archive, MAX_FILES
        self.allowed = max(SMALL, MAX_EXPANSION * archive.stat().st_size)
        self.free = shutil.disk_usage(folder).free

    def spend(self, size: int) -> None:
        """Take off a member of `size` bytes; ArchiveError where it is too much."""
        self.files -= 1
        self.allowed -= size
        self.free -= size
        if self.allowed < 0 or self.files < 0:
            raise ArchiveError(
                f"{self.archive} unpacks to more than {MAX_EXPANSION} times its size or to more "
                f"than {MAX_FILES} files, which images do not; it is not unpacked"
            )
        if self.free < 0:
            raise ArchiveError(
                f"{self.archive} needs more room than is free; make {-self.free / 1e9:.1f} GB free "
                "at least"
            )


def find_archive(folder: Path) -> Path | None:
    """The archive that was put beside `folder` under its name (`geoguessr.zip`), if there is one.

    Raises ArchiveError where there are several."""
    found = [folder.with_name(folder.name + suffix) for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise ArchiveError(
            f"both {found[0]} and {found[1]} could become {folder}; take one of them away"
        )
    return found[0] if found else None


def unpack(
    archive: Path, folder: Path, arrange: Callable[[Path], None] = lambda folder: None
) -> None:
    """Unpack a zip or tar archive into `folder`, which appears only when complete and after
    `arrange`, called with the folder under its temporary name.

    Raises DamagedArchive for what is no archive or no whole one, and ArchiveError for one that is
    encrypted, has members or links that point outside the folder, expands like a bomb or does not
    fit on the disk.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _extract(archive, temporary)
        arrange(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _untar(archive, folder)
        else:
            raise DamagedArchive(
                f"{archive} is neither a zip nor a tar archive, or was cut off; fetch it anew"
            )
    except ArchiveError:
        raise
    except (*DAMAGED, tarfile.TarError, OSError) as error:
        if _is_damage(error):
            raise DamagedArchive(f"cannot unpack {archive}: {error}; fetch it anew") from error
        raise ArchiveError(f"cannot unpack {archive}: {error}") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in another way
        raise ArchiveError(f"cannot unpack {archive}: {error}; unpack it by hand") from error


def _is_damage(error: Exception) -> bool:
    """Whether an error is about the bytes of an archive. gzip and bz2 raise OSErrors without the
    number that those of the system have."""
    of_a_decompressor = isinstance(error, OSError) and error.errno is None
    return of_a_decompressor or isinstance(error, DAMAGED)


def _unzip(archive: Path, folder: Path) -> None:
    """Links of a zip become small files with the target's name, as zipfile writes them."""
    budget = _Budget(archive, folder)
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise ArchiveError(f"{archive} has a member outside its folder: {path}")
            budget.spend(member.file_size)  # zipfile never writes more than this
        for member in Progress(members, description="unpack", unit="files"):
            file.extract(member, folder)


def _untar(archive: Path, folder: Path) -> None:
    budget = _Budget(archive, folder)

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        budget.spend(member.size)
        return tarfile.data_filter(member, path)  # refuses what points outside, devices, modes

    with tarfile.open(archive, tarinfo=StrictTarInfo) as file:
        for member in Progress(file, description="unpack", unit="files"):
            file.extract(member, folder, filter=checked)
        while file.fileobj.read(CHUNK):  # the checksum of a compressed archive stands at its end
            pass
