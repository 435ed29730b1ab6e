-- Made by python -m artline.storage.migrations.snapshot; do not edit.
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0013_metric_files');
CREATE TABLE artifact (
    id INTEGER NOT NULL,
    project_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    next_version BIGINT NOT NULL, changes BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_artifact PRIMARY KEY (id),
    CONSTRAINT fk_artifact_project_id_project FOREIGN KEY(project_id) REFERENCES project (id),
    CONSTRAINT uq_artifact_project_id_name UNIQUE (project_id, name)
);
CREATE TABLE artifact_alias (
    artifact_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    version_id INTEGER NOT NULL,
    moved_at DOUBLE NOT NULL,
    CONSTRAINT pk_artifact_alias PRIMARY KEY (artifact_id, name),
    CONSTRAINT fk_artifact_alias_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id),
    CONSTRAINT fk_artifact_alias_version_id_artifact_version FOREIGN KEY(version_id) REFERENCES artifact_version (id)
);
CREATE TABLE artifact_contribution (
    draft_id INTEGER NOT NULL,
    run TEXT NOT NULL,
    root BLOB NOT NULL,
    size BIGINT NOT NULL,
    file_count BIGINT NOT NULL,
    metadata TEXT,
    description TEXT,
    incremental BOOLEAN NOT NULL,
    aliases TEXT NOT NULL,
    tags TEXT NOT NULL,
    at DOUBLE NOT NULL,
    CONSTRAINT pk_artifact_contribution PRIMARY KEY (draft_id, run),
    CONSTRAINT fk_artifact_contribution_draft_id_artifact_draft FOREIGN KEY(draft_id) REFERENCES artifact_draft (id)
);
CREATE TABLE artifact_draft (
    id INTEGER NOT NULL,
    project_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    distributed_id TEXT NOT NULL,
    type TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    touched_at DOUBLE NOT NULL,
    generation BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    version_id INTEGER,
    CONSTRAINT pk_artifact_draft PRIMARY KEY (id),
    CONSTRAINT fk_artifact_draft_project_id_project FOREIGN KEY(project_id) REFERENCES project (id),
    CONSTRAINT fk_artifact_draft_version_id_artifact_version FOREIGN KEY(version_id) REFERENCES artifact_version (id),
    CONSTRAINT uq_artifact_draft_project_id_name_distributed_id UNIQUE (project_id, name, distributed_id)
);
CREATE TABLE artifact_edge (
    id INTEGER NOT NULL,
    version_id INTEGER NOT NULL,
    run TEXT NOT NULL,
    role TEXT NOT NULL,
    use_as TEXT NOT NULL,
    at DOUBLE NOT NULL,
    CONSTRAINT pk_artifact_edge PRIMARY KEY (id),
    CONSTRAINT fk_artifact_edge_version_id_artifact_version FOREIGN KEY(version_id) REFERENCES artifact_version (id),
    CONSTRAINT uq_artifact_edge_version_id_run_role UNIQUE (version_id, run, role)
);
CREATE TABLE artifact_event (
    id INTEGER NOT NULL,
    version_id INTEGER NOT NULL,
    at DOUBLE NOT NULL,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    CONSTRAINT pk_artifact_event PRIMARY KEY (id),
    CONSTRAINT fk_artifact_event_version_id_artifact_version FOREIGN KEY(version_id) REFERENCES artifact_version (id)
);
CREATE TABLE artifact_link (
    version_id INTEGER NOT NULL,
    source_id INTEGER NOT NULL,
    run TEXT NOT NULL,
    at DOUBLE NOT NULL,
    CONSTRAINT pk_artifact_link PRIMARY KEY (version_id),
    CONSTRAINT fk_artifact_link_version_id_artifact_version FOREIGN KEY(version_id) REFERENCES artifact_version (id),
    CONSTRAINT fk_artifact_link_source_id_artifact_version FOREIGN KEY(source_id) REFERENCES artifact_version (id)
);
CREATE TABLE artifact_outbox (
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    row_id BIGINT NOT NULL,
    CONSTRAINT pk_artifact_outbox PRIMARY KEY (id)
);
CREATE TABLE artifact_protection (
    artifact_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    at DOUBLE NOT NULL,
    CONSTRAINT pk_artifact_protection PRIMARY KEY (artifact_id, name),
    CONSTRAINT fk_artifact_protection_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id)
);
CREATE TABLE artifact_rule (
    artifact_id INTEGER NOT NULL,
    ttl DOUBLE,
    keep_last BIGINT,
    keep_aliased BOOLEAN NOT NULL,
    at DOUBLE NOT NULL,
    CONSTRAINT pk_artifact_rule PRIMARY KEY (artifact_id),
    CONSTRAINT fk_artifact_rule_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id)
);
CREATE TABLE artifact_tag (
    version_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT pk_artifact_tag PRIMARY KEY (version_id, name),
    CONSTRAINT fk_artifact_tag_version_id_artifact_version FOREIGN KEY(version_id) REFERENCES artifact_version (id)
);
CREATE TABLE artifact_version (
    id INTEGER NOT NULL,
    artifact_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    digest BLOB NOT NULL,
    root BLOB NOT NULL,
    size BIGINT NOT NULL,
    file_count BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    updated_at DOUBLE NOT NULL,
    deleted_at DOUBLE, ttl DOUBLE,
    CONSTRAINT pk_artifact_version PRIMARY KEY (id),
    CONSTRAINT fk_artifact_version_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id),
    CONSTRAINT uq_artifact_version_artifact_id_number UNIQUE (artifact_id, number)
);
CREATE TABLE chunk (
    digest BLOB NOT NULL,
    pack_id INTEGER NOT NULL,
    position BIGINT NOT NULL,
    stored_size INTEGER NOT NULL,
    raw_size INTEGER NOT NULL,
    kind SMALLINT NOT NULL,
    codec SMALLINT NOT NULL,
    CONSTRAINT pk_chunk PRIMARY KEY (digest)
)
 WITHOUT ROWID

;
CREATE TABLE lease (
    id VARCHAR(32) NOT NULL,
    owner TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    expires_at DOUBLE NOT NULL,
    ended_epoch BIGINT,
    CONSTRAINT pk_lease PRIMARY KEY (id)
);
CREATE TABLE lease_pack (
    lease_id VARCHAR(32) NOT NULL,
    pack_id INTEGER NOT NULL,
    CONSTRAINT pk_lease_pack PRIMARY KEY (lease_id, pack_id),
    CONSTRAINT fk_lease_pack_lease_id_lease FOREIGN KEY(lease_id) REFERENCES lease (id) ON DELETE CASCADE,
    CONSTRAINT fk_lease_pack_pack_id_pack FOREIGN KEY(pack_id) REFERENCES pack (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE metric_chunk (
    id INTEGER NOT NULL,
    metric_group_id INTEGER NOT NULL,
    level INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    step_min BIGINT NOT NULL,
    step_max BIGINT NOT NULL,
    time_min DOUBLE NOT NULL,
    time_max DOUBLE NOT NULL,
    count INTEGER NOT NULL,
    value_min DOUBLE,
    value_max DOUBLE,
    value_last DOUBLE,
    location TEXT,
    payload BLOB,
    CONSTRAINT pk_metric_chunk PRIMARY KEY (id),
    CONSTRAINT fk_metric_chunk_metric_group_id_metric_group FOREIGN KEY(metric_group_id) REFERENCES metric_group (id) ON DELETE CASCADE,
    CONSTRAINT uq_metric_chunk_place UNIQUE (metric_group_id, level, ordinal, seq)
);
CREATE TABLE metric_file (
    name TEXT NOT NULL,
    metric_group_id INTEGER,
    size BIGINT,
    state SMALLINT NOT NULL,
    created_at DOUBLE NOT NULL,
    condemned_at DOUBLE,
    CONSTRAINT pk_metric_file PRIMARY KEY (name),
    CONSTRAINT fk_metric_file_metric_group_id_metric_group FOREIGN KEY(metric_group_id) REFERENCES metric_group (id) ON DELETE SET NULL
)
 WITHOUT ROWID

;
CREATE TABLE metric_group (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    run_writer_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    signature TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    next_seq BIGINT NOT NULL, raised TEXT DEFAULT '[]' NOT NULL, sealed BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT pk_metric_group PRIMARY KEY (id),
    CONSTRAINT fk_metric_group_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE,
    CONSTRAINT fk_metric_group_run_writer_id_run_writer FOREIGN KEY(run_writer_id) REFERENCES run_writer (id) ON DELETE CASCADE,
    CONSTRAINT uq_metric_group_signature UNIQUE (run_writer_id, stream, signature)
);
CREATE TABLE metric_key (
    metric_group_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    "key" TEXT NOT NULL,
    lookup TEXT NOT NULL,
    kind TEXT NOT NULL,
    CONSTRAINT pk_metric_key PRIMARY KEY (metric_group_id, ordinal),
    CONSTRAINT fk_metric_key_metric_group_id_metric_group FOREIGN KEY(metric_group_id) REFERENCES metric_group (id) ON DELETE CASCADE
);
CREATE TABLE orphan (
    name VARCHAR(128) NOT NULL,
    seen_at DOUBLE NOT NULL,
    CONSTRAINT pk_orphan PRIMARY KEY (name)
)
 WITHOUT ROWID

;
CREATE TABLE pack (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(32) NOT NULL,
    size BIGINT NOT NULL,
    blocks INTEGER NOT NULL,
    state SMALLINT DEFAULT '0' NOT NULL,
    created_at DOUBLE NOT NULL,
    condemned_at DOUBLE,
    CONSTRAINT uq_pack_name UNIQUE (name)
);
CREATE TABLE project (
    id INTEGER NOT NULL,
    entity TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    CONSTRAINT pk_project PRIMARY KEY (id),
    CONSTRAINT uq_project_entity_name UNIQUE (entity, name)
);
CREATE TABLE record_object (
    name VARCHAR(128) NOT NULL,
    CONSTRAINT pk_record_object PRIMARY KEY (name)
)
 WITHOUT ROWID

;
CREATE TABLE run (
    id INTEGER NOT NULL,
    project_id INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    notes TEXT NOT NULL,
    group_name TEXT NOT NULL,
    job_type TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    started_at DOUBLE NOT NULL,
    ended_at DOUBLE,
    heartbeat_at DOUBLE NOT NULL,
    runtime DOUBLE NOT NULL,
    exit_code INTEGER,
    last_step BIGINT,
    config TEXT NOT NULL,
    summary TEXT NOT NULL,
    summary_state TEXT NOT NULL,
    definitions TEXT NOT NULL,
    info TEXT NOT NULL,
    console_bytes BIGINT NOT NULL,
    deleted_at DOUBLE,
    CONSTRAINT pk_run PRIMARY KEY (id),
    CONSTRAINT fk_run_project_id_project FOREIGN KEY(project_id) REFERENCES project (id),
    CONSTRAINT uq_run_project_run UNIQUE (project_id, run_id)
);
CREATE TABLE run_alert (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    run_writer_id INTEGER NOT NULL,
    at DOUBLE NOT NULL,
    level TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    CONSTRAINT pk_run_alert PRIMARY KEY (id),
    CONSTRAINT fk_run_alert_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE,
    CONSTRAINT fk_run_alert_run_writer_id_run_writer FOREIGN KEY(run_writer_id) REFERENCES run_writer (id) ON DELETE CASCADE
);
CREATE TABLE run_attr (
    run_id INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    project_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    number DOUBLE,
    text TEXT,
    CONSTRAINT pk_run_attr PRIMARY KEY (run_id, "key"),
    CONSTRAINT fk_run_attr_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE run_console (
    run_id INTEGER NOT NULL,
    start BIGINT NOT NULL,
    size BIGINT NOT NULL,
    line_count INTEGER NOT NULL,
    time_min DOUBLE NOT NULL,
    time_max DOUBLE NOT NULL,
    payload BLOB NOT NULL,
    CONSTRAINT pk_run_console PRIMARY KEY (run_id, start),
    CONSTRAINT fk_run_console_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE TABLE run_file (
    run_id INTEGER NOT NULL,
    path TEXT NOT NULL,
    policy TEXT NOT NULL, digest BLOB, recipe BLOB, size BIGINT, modified DOUBLE,
    CONSTRAINT pk_run_file PRIMARY KEY (run_id, path),
    CONSTRAINT fk_run_file_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE run_folder (
    run_id INTEGER NOT NULL,
    CONSTRAINT pk_run_folder PRIMARY KEY (run_id),
    CONSTRAINT fk_run_folder_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE TABLE run_rewind (
    run_writer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    step BIGINT NOT NULL,
    CONSTRAINT pk_run_rewind PRIMARY KEY (run_writer_id),
    CONSTRAINT fk_run_rewind_run_writer_id_run_writer FOREIGN KEY(run_writer_id) REFERENCES run_writer (id) ON DELETE CASCADE,
    CONSTRAINT fk_run_rewind_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE TABLE run_tag (
    run_id INTEGER NOT NULL,
    tag TEXT NOT NULL,
    CONSTRAINT pk_run_tag PRIMARY KEY (run_id, tag),
    CONSTRAINT fk_run_tag_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE run_writer (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    writer TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    state TEXT NOT NULL,
    started_at DOUBLE NOT NULL,
    ended_at DOUBLE,
    heartbeat_at DOUBLE NOT NULL,
    runtime DOUBLE NOT NULL,
    exit_code INTEGER,
    process TEXT NOT NULL,
    damage TEXT NOT NULL,
    CONSTRAINT pk_run_writer PRIMARY KEY (id),
    CONSTRAINT fk_run_writer_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE,
    CONSTRAINT uq_run_writer_writer UNIQUE (run_id, writer)
);
CREATE TABLE store_meta (
    "key" VARCHAR(64) NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_store_meta PRIMARY KEY ("key")
);
CREATE INDEX ix_lease_pack_pack_id ON lease_pack (pack_id);
CREATE INDEX ix_artifact_version_artifact_id_digest ON artifact_version (artifact_id, digest);
CREATE INDEX ix_artifact_alias_version_id ON artifact_alias (version_id);
CREATE INDEX ix_artifact_event_version_id ON artifact_event (version_id);
CREATE INDEX ix_artifact_edge_run_role ON artifact_edge (run, role);
CREATE INDEX ix_run_created ON run (project_id, created_at, id);
CREATE INDEX ix_run_state ON run (state);
CREATE INDEX ix_run_attr_number ON run_attr (project_id, "key", number, run_id, kind);
CREATE INDEX ix_run_attr_text ON run_attr (project_id, "key", text, run_id, kind);
CREATE INDEX ix_run_tag_tag ON run_tag (tag);
CREATE INDEX ix_run_writer_state ON run_writer (state);
CREATE INDEX ix_metric_group_run ON metric_group (run_id);
CREATE INDEX ix_metric_key_lookup ON metric_key (run_id, stream, lookup);
CREATE INDEX ix_artifact_link_source_id ON artifact_link (source_id);
CREATE INDEX ix_run_rewind_run ON run_rewind (run_id);
CREATE INDEX ix_run_alert_run ON run_alert (run_id, at);
CREATE INDEX ix_metric_file_group ON metric_file (metric_group_id);
DELETE FROM "sqlite_sequence";
