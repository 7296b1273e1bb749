"""Run alembic's versions over the connection that `touchstone.kit.migrations` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
# The transaction is the caller's: all versions happen, or none.
context.run_migrations()
