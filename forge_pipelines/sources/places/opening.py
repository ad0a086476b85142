"""Which place a source's configuration means."""

from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.connections import Connections
from forge_pipelines.sources.place import Place
from forge_pipelines.sources.places.folder import Folder
from forge_pipelines.sources.places.mailbox import Mailbox
from forge_pipelines.sources.places.object_store import ObjectStore
from forge_pipelines.sources.places.records import Records
from forge_pipelines.sources.places.sql import Sql


def open_place(config: SourceConfig, connections: Connections) -> Place:
    """Return a source's place.

    Raises:
        ConfigError: there is no such place, it may not be entered, or its connection is not known.
    """
    if config.folder is not None:
        return Folder(config.folder.path, config.folder, config.max_file_bytes)
    if config.object_store is not None:
        name = config.object_store.connection
        connection = None if name is None else connections(name)
        return ObjectStore(config.object_store, connection, config.max_file_bytes)
    if config.sql is not None:
        return Sql(config.sql, connections(config.sql.connection), config.max_file_bytes)
    if config.records is not None:
        return Records(config.records)
    assert config.mailbox is not None, "a source has one place"
    return Mailbox(config.mailbox, config.max_file_bytes)
