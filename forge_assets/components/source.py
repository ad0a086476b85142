"""`forge_assets.components.Source`: documents of one place → the asset `<name>/raw_documents`."""

import re
import sysconfig
from typing import ClassVar

import dagster as dg

from forge_assets.attempts import attempt
from forge_assets.components.base import CPU_POOL, TemplateScaffolder, YamlComponent
from forge_assets.metadata import describe_documents, materialization
from forge_assets.progress import watch
from forge_assets.resources import ConnectionsResource, StoreResource
from forge_assets.settings import load_settings
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import CODE_VERSION, read_source


class SourceScaffolder(TemplateScaffolder):
    """The file that `dg scaffold defs forge_assets.components.Source` writes."""

    template = """\
  name: NAME
  description: What these documents are.
  folder:
    path: FILL-IN                    # the folder that holds the documents
    include: ["**/*.md", "**/*.txt", "**/*.html"]
  labels:
    licence: FILL-IN                 # an SPDX licence expression, for example CC-BY-4.0
    classification: internal         # public, internal, confidential or restricted
"""


@dg.scaffold_with(SourceScaffolder)
class Source(YamlComponent[SourceConfig]):
    """A place that documents come from.

    `{{ site_packages }}` stands for the folder of installed Python packages, `{{ forge_home }}` for FORGE_HOME.
    """

    config_class: ClassVar[type[SourceConfig]] = SourceConfig

    @staticmethod
    @dg.template_var
    def site_packages() -> str:
        """Return the folder in which this Python's packages are installed."""
        return sysconfig.get_path("purelib")

    @staticmethod
    @dg.template_var
    def forge_home() -> str:
        """Return FORGE_HOME."""
        return str(load_settings().home)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Declare the asset ``<name>/raw_documents``."""
        config = self.config

        @dg.asset(
            key=[config.name, "raw_documents"],
            group_name=config.name,
            owners=owners_of(config),
            kinds={"document", "parquet"},
            description=config.description or f"Every document of {config.name}, as text with its identity and labels.",
            pool=CPU_POOL,
            code_version=CODE_VERSION,
        )
        def raw_documents(
            context: dg.AssetExecutionContext, forge_store: StoreResource, forge_connections: ConnectionsResource
        ) -> dg.MaterializeResult:
            store = forge_store.open()
            with attempt(context):
                publication = read_source(config, store, watch(context), forge_connections.open())
                folder = store.open(publication.manifest)
                return materialization(publication, store, describe_documents(folder, publication.manifest))

        return dg.Definitions(assets=[raw_documents])


def owners_of(config: SourceConfig) -> list[str]:
    """Return who answers for a source, as Dagster writes it: an e-mail address, else `team:` and a name."""
    owner = config.labels.owner
    if not owner:
        return []
    return [owner] if re.fullmatch(r"[\w.%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", owner) else [f"team:{owner}"]
