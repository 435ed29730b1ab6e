"""``art show``: everything about a version."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.documents import VERSION_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "show",
    examples=["art show digits", "art show digits:production --json", "art show other-project/digits:v3"],
    exits=[3, 7],
    shape="""
VERSION with {"expires_at": time | null (by age alone),
              "logged_by": run | null, "used_by": [run], "source": version, "links": [version],
              "protected": [alias], "retention": RULE | null (see art retain),
              "history": [{"at": time, "run": run, "kind": str, "detail": {…}}]}
run: "entity/project/id"; version: "entity/project/name:v3"; source: itself if it is no link
"""
    + VERSION_SHAPE,
)
@artifact_argument("ref")
@project_option
@json_option
def show(ref: str, project: str | None, as_json: bool) -> None:
    """Show everything known about a version.

    The version a reference names, latest if it names none: size, digest, aliases, tags, metadata, the run
    that logged it, those that used it, and what was changed on it since. Its files are listed by art ls.
    """
    from artline.artifacts.rules import ages_at
    from artline.artifacts.ttl import ttl_of, ttl_text
    from artline.cli.documents import moment, rule_document, version_document
    from artline.cli.output import bold, dim, json_text, print_fields, print_json
    from artline.cli.stores import open_artifacts
    from artline.cli.values import ago, count, exact, plain, size

    store = open_artifacts(project)
    version = store.get(ref)
    record = version.record
    made, used, history = version.logged_by(), version.used_by(), version.history
    source = version.source_artifact.qualified_name
    links = [link.qualified_name for link in store.links(record.id)]
    standing = version.store.standing(record.id)
    protected, rule = list(standing.protected), standing.rule
    expires = ages_at(record, rule)
    if as_json:
        document = version_document(record, store.content.algorithm)
        events = [{"at": moment(e.at), "run": e.run, "kind": e.kind, "detail": e.detail} for e in history]
        lineage = {"logged_by": made, "used_by": used, "source": source, "links": links}
        setting = {
            "protected": protected,
            "retention": rule_document(rule),
            "expires_at": moment(expires),
        }
        print_json({**document, **lineage, **setting, "history": events})
        return
    print(bold(record.qualified_name))
    print_fields(
        {
            "type": record.type,
            "digest": version.digest,
            "content": f"{count(record.file_count, 'file')}, {size(record.size)}",
            "aliases": ", ".join(record.aliases),
            "protected": ", ".join(protected),
            "retention": str(rule) if rule is not None else "",
            "ttl": ttl_text(ttl_of(record.ttl)) if record.ttl is not None else "",
            "old enough to go": exact(expires) if expires is not None else "",
            "tags": ", ".join(record.tags),
            "description": record.description,
            "created": f"{ago(record.created_at)} ({exact(record.created_at)})",
            "linked from": source if version.is_link else "",
            "linked as": "\n".join(links),
            "logged by": made,
            "used by": "\n".join(used),
            "metadata": json_text(record.metadata) if record.metadata else "",
        },
        indent="  ",
    )
    if history:
        print("  " + dim("history"))
        for event in history:
            detail = ", ".join(f"{k}: {json_text(v, indent=None)}" for k, v in event.detail.items())
            print(plain(f"    {exact(event.at)}  {event.kind}  {detail}".rstrip()))
