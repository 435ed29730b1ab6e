"""What ``art doctor`` looks at: each check names what it found and, where something is wrong, the remedy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from artline.settings import Settings, redacted_url

__all__ = ["BROKEN", "FINE", "WEAK", "Check", "run_checks"]

FINE = "ok"
WEAK = "warning"
BROKEN = "broken"

_MODULES = {
    "alembic": "alembic",
    "blake3": "blake3",
    "click": "click",
    "fsspec": "fsspec",
    "nvidia-ml-py": "pynvml",
    "psutil": "psutil",
    "pyfastcdc": "pyfastcdc",
    "requests": "requests",
    "sqlalchemy": "sqlalchemy",
    "xxhash": "xxhash",
    "zstandard": "zstandard",
}
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs", "lustre")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check; ``state`` is ``ok``, ``warning`` or ``broken``."""

    name: str
    state: str
    detail: str
    remedy: str = ""


def run_checks(settings: Settings) -> Iterator[Check]:
    """Yield the outcome of every check, in the order in which they build on one another.

    Nothing is left behind: a root that does not exist yet is not made.
    """
    yield check_python()
    yield check_dependencies()
    yield check_extras(settings)
    yield check_chunker()
    folder = existing_folder(settings.root)
    writable = check_writing(settings.root, folder)
    yield writable
    yield check_space(folder)
    if writable.state == FINE:
        yield check_fsync(folder)
        yield check_sqlite(settings, folder)
        yield check_clock(folder)
    yield check_catalog(settings)
    yield check_journals(settings)
    yield check_gpu()


def existing_folder(root: Path) -> Path:
    """Return ``root``, or the nearest folder above it that exists."""
    for folder in (root, *root.parents):
        if folder.is_dir():
            return folder
    return Path(root.anchor)


def check_python() -> Check:
    """Check the version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", FINE, f"Python {version}")


def check_dependencies() -> Check:
    """Check that each required package is there and can be imported."""
    broken = []
    for package, module in _MODULES.items():
        try:
            import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever importing raises is the finding
            broken.append(f"{package} ({type(error).__name__}: {error})")
    if broken:
        remedy = "Install Artline anew: python -m pip install --force-reinstall artline"
        return Check("dependencies", BROKEN, "cannot import " + ", ".join(broken), remedy)
    return Check("dependencies", FINE, f"{len(_MODULES)} packages, all importable")


def check_extras(settings: Settings) -> Check:
    """Check the optional packages, which are needed only where the settings or the data ask for them."""
    wanted = {"pyarrow": ("table", False)}
    wanted["psycopg"] = ("postgres", settings.catalog.startswith("postgresql"))
    wanted["s3fs"] = ("s3", settings.bucket.startswith("s3:"))
    present: list[str] = []
    absent: list[str] = []
    missing: list[str] = []
    for module, (extra, needed) in wanted.items():
        try:
            present.append(f"{module} {metadata.version(module)}")
        except metadata.PackageNotFoundError:
            (missing if needed else absent).append(extra)
    found = ", ".join([*present, *(f"no {extra}" for extra in absent)])
    if missing:
        remedy = f"python -m pip install 'artline[{','.join(missing)}]'"
        return Check("extras", BROKEN, f"the settings need the extra {' and '.join(missing)}", remedy)
    return Check("extras", FINE, found)


def check_chunker() -> Check:
    """Check that large files are cut by native code, not by its slow stand-in."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = import_module("pyfastcdc").FastCDC
    except Exception as error:  # noqa: BLE001 - whatever importing raises is the finding
        return Check(
            "chunker", BROKEN, f"pyfastcdc: {error}", "python -m pip install --force-reinstall pyfastcdc"
        )
    if ".cy" not in kind.__module__:
        return Check(
            "chunker",
            WEAK,
            "no native code for this platform: files of 8 MiB and more are cut slowly",
            "Install a wheel of pyfastcdc, or a C compiler and then: pip install --force-reinstall pyfastcdc",
        )
    return Check("chunker", FINE, "native")


def check_writing(root: Path, folder: Path) -> Check:
    """Check that the root can be written to, or made."""
    remedy = f"Make it writable (chown, chmod), or point ART_HOME to another folder than {root}"
    if root.exists() and not root.is_dir():
        return Check("root", BROKEN, f"{root} is not a folder", "Point ART_HOME to a folder")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"artline")
    except OSError as error:
        return Check("root", BROKEN, f"cannot write to {folder}: {error.strerror}", remedy)
    if folder != root:
        return Check("root", FINE, f"{root} will be made when first needed")
    return Check("root", FINE, f"{root} is writable")


def check_space(folder: Path) -> Check:
    """Check the space and the file entries left where the root lies."""
    usage = shutil.disk_usage(folder)
    entries = os.statvfs(folder)
    detail = f"{usage.free // _MIB:,} MiB free of {usage.total // _MIB:,} MiB"
    remedy = "Free space (art gc --delete frees what no version refers to), or point ART_HOME to another disk"
    if entries.f_files and entries.f_favail < 1000:
        return Check("disk space", BROKEN, f"{entries.f_favail} file entries (inodes) left", remedy)
    if usage.free < 100 * _MIB:
        return Check("disk space", BROKEN, detail, remedy)
    if usage.free < 2048 * _MIB:
        return Check("disk space", WEAK, detail, remedy)
    return Check("disk space", FINE, detail)


def check_fsync(folder: Path) -> Check:
    """Check that files and folders can be forced to the disk, and how long that takes."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".artline-doctor-") as file:
            file.write(b"\0" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            taken = time.perf_counter() - start
    except OSError as error:
        remedy = (
            "Point ART_HOME to a file system that keeps what it acknowledges (ext4, xfs, btrfs, zfs, apfs)"
        )
        return Check("fsync", BROKEN, f"{folder}: {error.strerror}", remedy)
    detail = f"{taken * 1000:.1f} ms for a file and its folder"
    if taken > 1:
        return Check("fsync", WEAK, detail, "The disk is slow or busy: commits will wait for it")
    return Check("fsync", FINE, detail)


def check_sqlite(settings: Settings, folder: Path) -> Check:
    """Check SQLite's version, and that write-ahead logging works where the root lies."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < (3, 35):
        return Check("sqlite", BROKEN, f"SQLite {version}", "Use a Python built with SQLite 3.35 or newer")
    if settings.catalog and not settings.catalog.startswith("sqlite"):
        return Check("sqlite", FINE, f"SQLite {version}, not used: the catalog is elsewhere")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".artline-doctor-") as place:
        connection = sqlite3.connect(os.path.join(place, "probe.db"))
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            connection.execute("CREATE TABLE probe (x)")
            connection.commit()
        except sqlite3.Error as error:
            mode = str(error)
        finally:
            connection.close()
    remedy = "Point ART_HOME to a local disk, or keep the catalog in PostgreSQL (ART_CATALOG)"
    if mode != "wal":
        return Check("sqlite", BROKEN, f"no write-ahead log in {folder}: {mode}", remedy)
    kind = file_system(folder)
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        return Check(
            "sqlite", WEAK, f"{folder} lies on {kind}: several machines would spoil the catalog", remedy
        )
    return Check("sqlite", FINE, f"SQLite {version} with write-ahead log")


def file_system(folder: Path, mounts: str = "/proc/self/mounts") -> str:
    """Return the kind of file system that ``folder`` lies on, or empty text where that is not known."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = ("", "")
    place = os.path.realpath(folder)
    for line in lines:
        parts = line.split()
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ")
        if (place == point or place.startswith(point.rstrip("/") + "/")) and len(point) >= len(found[0]):
            found = (point, parts[2])
    return found[1]


def check_clock(folder: Path) -> Check:
    """Check that the clock is set, and agrees with that of the file system."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".artline-doctor-") as file:
        skew = os.fstat(file.fileno()).st_mtime - time.time()
    remedy = "Set the clock and keep it set (NTP): leases, heartbeats and retention go by it"
    if time.gmtime().tm_year < 2025:
        return Check("clock", BROKEN, f"it says {time.strftime('%Y-%m-%d %H:%M:%S')}", remedy)
    if abs(skew) > 5:
        return Check("clock", WEAK, f"the file system's clock is {skew:+.0f} s from this machine's", remedy)
    return Check("clock", FINE, time.strftime("%Y-%m-%d %H:%M:%S %z"))


def check_catalog(settings: Settings) -> Check:
    """Check that the catalog can be opened, and that its schema is this Artline's; nothing is changed."""
    from artline.errors import ArtlineError
    from artline.runs.survey import store_exists

    place = redacted_url(settings.catalog_url)
    if not store_exists(settings):
        return Check("catalog", FINE, f"{place} will be made when first needed")
    try:
        from artline.storage.catalog import Catalog, latest_revision

        catalog = Catalog.open(settings.catalog_url, lock_timeout=settings.lock_timeout, upgrade_schema=False)
        catalog.close()
    except ArtlineError as error:
        return Check(
            "catalog", BROKEN, str(error), "See the message; art status shows where the setting comes from"
        )
    if catalog.revision != latest_revision():
        detail = f"{place} has schema {catalog.revision or 'none'}, this Artline {latest_revision()}"
        return Check("catalog", WEAK, detail, "art migrate (or it is migrated when next opened)")
    return Check("catalog", FINE, f"{place}, schema {catalog.revision}")


def check_journals(settings: Settings) -> Check:
    """Check for journals that dead runs have left and nobody has taken in."""
    from artline.errors import ArtlineError
    from artline.runs.survey import store_exists, waiting_journals

    if not store_exists(settings) and not (settings.root / "journal").is_dir():
        return Check("journals", FINE, "none")
    try:
        waiting = waiting_journals(settings)
    except ArtlineError as error:
        return Check("journals", BROKEN, str(error), "Mend the catalog first")
    detail = f"{waiting.journals} waiting, {waiting.size:,} bytes"
    if waiting.orphans:
        return Check("journals", WEAK, f"{detail}; {len(waiting.orphans)} of runs that are gone", "art sync")
    return Check("journals", FINE, detail)


def check_gpu() -> Check:
    """Say whether NVIDIA GPUs can be watched; having none is no fault."""
    try:
        nvml = import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no driver, no library, no permission: all mean no GPU metrics
        return Check("gpu", FINE, "no NVIDIA driver here: runs record no GPU metrics")
    try:
        return Check("gpu", FINE, f"NVML sees {nvml.nvmlDeviceGetCount()} NVIDIA GPU(s)")
    except nvml.NVMLError as error:
        return Check("gpu", WEAK, f"NVML: {error}", "Check the driver with nvidia-smi")
    finally:
        nvml.nvmlShutdown()
