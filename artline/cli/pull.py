"""``art pull``: write versions to disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.cli.progress import Progress


@command(
    "pull",
    examples=[
        "art pull digits:v1                         # into artifacts/digits-v1",
        "art pull digits-mlp:production model/",
        "art pull digits@blake3:2f1c… data/          # that content or nothing",
        "art pull digits data/ --only train",
        "art pull digits data/ --exact --link hardlink",
        "art pull                                   # everything art.lock pins",
    ],
    exits=[3, 4, 5, 6, 7],
    meanings={
        3: "no such artifact or version, or nothing is pinned",
        4: "content, or a pinned version, does not match its digest; nothing wrong was written",
    },
    shape="""
{"pulled": [{"ref": "entity/project/name:v3", "digest": str, "path": str, "files": int, "size": bytes}]}
""",
)
@artifact_argument("ref", required=False, metavar="[REF]")
@click.argument("destination", required=False, metavar="[DEST]", type=click.Path(path_type=Path))
@click.option("--only", metavar="PATH", help="Only what is at or below this path of the version.")
@click.option("--exact", is_flag=True, help="Delete what else is in DEST: make it exactly the version.")
@click.option(
    "--link",
    type=click.Choice(["copy", "reflink", "hardlink"]),
    help="Share the bytes of files with the cache, or not; hard links are read-only.",
)
@click.option("--allow-missing-references", is_flag=True, help="Pass over referenced objects that are gone.")
@project_option
@json_option
def pull(
    ref: str | None,
    destination: Path | None,
    only: str | None,
    exact: bool,
    link: str | None,
    allow_missing_references: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Write a version to disk, verified; or everything pinned.

    Each file is checked against its digest before it appears, and only what is missing or differs is
    written, so calling again resumes. Where art.lock pins what REF names, that version is written. Without
    REF every version that it pins goes into artifacts/ beside it. Files are copies, or reflinks of large
    ones from a remote bucket where the disk can, unless --link says otherwise.
    """
    from artline.artifacts.checkout import remove_extra
    from artline.artifacts.pinning import lock_path, restore
    from artline.artifacts.pins import LOCK_FILE, pinned_ref
    from artline.cli.output import note, print_json
    from artline.cli.progress import Progress
    from artline.cli.stores import open_artifacts
    from artline.cli.values import count, size

    if ref is None and (only or exact or allow_missing_references):
        raise UsageError("--only, --exact and --allow-missing-references need a REF")
    if only and exact:
        raise UsageError("--only and --exact exclude each other: a part is never exactly the version")
    store = open_artifacts(project)
    bars: list[Progress] = []

    def watch(version: Artifact) -> Progress:
        for bar in bars:
            bar.close()
        files, amount = (0, 0) if only else (version.file_count, version.size)
        label = f"pull {version.name}"
        bars.append(Progress(label, total_files=files, total_bytes=amount, quiet=store.settings.quiet))
        return bars[-1]

    try:
        if ref is None:
            restored = restore(store, lock_path(), watch=watch, link=link)
            pulled = [
                (done.version, done.folder, done.version.file_count, done.version.size) for done in restored
            ]
        else:
            wanted, pin = pinned_ref(ref, project=store.settings.project, entity=store.settings.entity)
            if pin is not None:
                note(f"{ref} is {pin.name}:{pin.version}, pinned by {LOCK_FILE}")
            version = store.get(wanted)
            with _warnings_noted():
                folder = version.download(
                    destination,
                    allow_missing_references,
                    path_prefix=only,
                    progress=watch(version),
                    link=link,
                )
            if exact:
                remove_extra(version.manifest, folder)
            part = only or allow_missing_references
            done_so_far = (bars[-1].files, bars[-1].bytes) if part else (version.file_count, version.size)
            pulled = [(version, folder, *done_so_far)]
    finally:
        for bar in bars:
            bar.close()
    if as_json:
        documents = [
            {
                "ref": version.qualified_name,
                "digest": version.digest,
                "path": folder,
                "files": files,
                "size": amount,
            }
            for version, folder, files, amount in pulled
        ]
        print_json({"pulled": documents})
        return
    for version, folder, files, amount in pulled:
        limit = f"  (only {only})" if only else ""
        print(f"{version.name}  {count(files, 'file')}, {size(amount)}{limit}  -> {folder}")


@contextmanager
def _warnings_noted() -> Iterator[None]:
    """Say what is warned of inside as notes, when it is done."""
    from artline.cli.output import note

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in told:
        note(f"warning: {warning.message}")
