"""Alembic's entry: run the revisions on the connection (and in the transaction) the catalog hands over."""

from alembic import context

from artline.server.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
context.run_migrations()
