"""``art verify``: a version's content, or a folder against a version."""

from __future__ import annotations

from pathlib import Path

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option
from artline.errors import SourceNotFoundError


@command(
    "verify",
    examples=[
        "art verify digits:v1",
        "art verify digits:v1 data/",
        "art verify digits-mlp:production --json",
    ],
    exits=[3, 4, 7],
    meanings={
        0: "everything is as it should be",
        3: "no such artifact or version, or DIR is no folder",
        4: "something is damaged, missing, changed or extra",
    },
    shape="""
without DIR: {"ok": bool, "files": int, "bytes": int, "faults": [{"path": str, "reason": str}]}
with DIR:    {"ok": bool, "files": int, "missing": [str], "changed": [str], "extra": [str]}
""",
)
@artifact_argument("ref")
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@project_option
@json_option
def verify(ref: str, folder: Path | None, project: str | None, as_json: bool) -> None:
    """Check a version's content, or a folder against a version.

    Without DIR every stored file of the version is read back and compared with its digest, and the target of
    each reference with what was recorded of it: size, ETag, version, checksum or time, as its server tells
    them, and the whole content where a digest was recorded. With DIR that folder is compared with the
    version. Every file that is wrong is named.
    """
    from artline.artifacts.audit import audit_content
    from artline.cli.output import note, print_json, red
    from artline.cli.progress import Progress
    from artline.cli.stores import open_artifacts
    from artline.cli.values import count, plain, size

    if folder is not None and not folder.is_dir():
        raise SourceNotFoundError(
            f"'{folder}' is not a folder. Pull the version first: art pull {ref} {folder}"
        )
    store = open_artifacts(project)
    version = store.get(ref)
    files = count(version.file_count, "file")
    with Progress(
        f"verify {version.name}",
        total_files=version.file_count,
        total_bytes=version.size,
        quiet=store.settings.quiet,
    ) as bar:
        if folder is None:
            audit = audit_content(version, bar)
            ok = not audit.faults
            wrong = [f"{fault.path}: {fault.reason}" for fault in audit.faults]
            checked = f"{files}, {size(audit.size)}"
            if audit.references:
                checked += f" stored, {count(audit.references, 'reference')}"
            document = {"ok": ok, "files": version.file_count, "bytes": audit.size, "faults": audit.faults}
        else:
            found = version.compare(folder, progress=bar)
            parts = {"missing": found.missing, "changed": found.changed, "extra": found.extra}
            ok = found.ok
            wrong = [f"{what} {path}" for what, paths in parts.items() for path in paths]
            checked = f"{files} in {folder}"
            document = {"ok": ok, "files": version.file_count, **parts}
    if as_json:
        print_json(document)
    else:
        for line in wrong:
            print(red(plain(line)))
        if ok:
            print(f"{version.name} is right: {checked}")
        else:
            note(f"error: {version.name} is not right: {len(wrong)} of {checked}")
    if not ok:
        raise click.exceptions.Exit(4)
