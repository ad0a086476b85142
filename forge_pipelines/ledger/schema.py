"""Forge's own tables, brought to their newest form: each migration is applied once, in order."""

from contextlib import closing

from psycopg2.extensions import connection

_MIGRATIONS = (
    """
    CREATE TABLE attempts (
        run text NOT NULL,
        step text NOT NULL,
        attempt integer NOT NULL,
        model text NOT NULL,
        host text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz,
        outcome text NOT NULL DEFAULT 'running',
        reason text,
        gpus integer NOT NULL DEFAULT 0,
        devices text[] NOT NULL DEFAULT '{}',
        wall_seconds double precision,
        cpu_seconds double precision,
        gpu_seconds double precision,
        PRIMARY KEY (run, step, attempt)
    );
    CREATE INDEX attempts_by_model ON attempts (model, started_at);
    """,
    "ALTER TABLE attempts ADD COLUMN energy_joules double precision",
)


def migrate(session: connection) -> None:
    """Apply the migrations that a database lacks; one caller at a time."""
    with closing(session.cursor()) as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS forge_schema (version integer PRIMARY KEY)")
        cursor.execute("SELECT coalesce(max(version), 0) FROM forge_schema")
        (found,) = cursor.fetchone()
        for version, statements in enumerate(_MIGRATIONS[found:], start=found + 1):
            cursor.execute(f"BEGIN; {statements}; INSERT INTO forge_schema VALUES ({version}); COMMIT")
