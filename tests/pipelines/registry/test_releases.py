"""Which version an alias names, and that none is handed out whose hashes or gates do not hold."""

from pathlib import Path

import pytest
from registry_chain import Chain

from forge_pipelines.errors import ConfigError, DataError, GateRefusal
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER as METRIC
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.releases import Releases, read_target
from forge_pipelines.registry.stage import register
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.registry.versions import point_alias
from forge_pipelines.store import Store

CONFIG = RegistrationConfig(gates=(f"{METRIC} < base",))


def test_the_champion_is_served_where_there_is_one_and_otherwise_the_candidate(
    tracking: Tracking, chain: Chain, store: Store
) -> None:
    register(chain.model, chain.report(), CONFIG, store, tracking)
    releases = Releases(tracking, store, chain.model)
    assert (releases.alias, releases.version()) == ("candidate", 1)
    release = releases.verified(1)
    assert release.checkpoint == chain.checkpoint
    assert release.folder == Path(store.address_of(chain.checkpoint))
    register(chain.model, chain.report(value=2.2), CONFIG, store, tracking)
    assert releases.version() == 2
    point_alias(tracking, chain.model, "champion", 1)
    assert (Releases(tracking, store, chain.model).alias, releases.version()) == ("champion", 2)


def test_what_is_not_there_is_said_with_what_there_is(database: Tracking, chain: Chain, store: Store) -> None:
    register(chain.model, chain.report(), CONFIG, store, database)
    with pytest.raises(ConfigError, match=r"has no alias @champion; it has @candidate \(version 1\)"):
        Releases(database, store, chain.model, "champion")
    with pytest.raises(ConfigError, match="no model is registered as nobody; there are "):
        Releases(database, store, "nobody")


def test_a_report_that_fails_the_gates_it_was_registered_with_is_refused(
    database: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report()
    register(chain.model, report, CONFIG, store, database)
    gates = {"gates": [f"{METRIC} < 0.5"]}
    chain.publish(chain.model, "registered_model", {"report": report.fingerprint}, gates, lambda folder: None)
    with pytest.raises(GateRefusal, match=r"version 1 is not served: gate «heldout/bits_per_character < 0.5»"):
        Releases(database, store, chain.model).verified(1)


@pytest.mark.parametrize("kind", ["trained_checkpoint", "evaluation_report"])
def test_a_flipped_byte_is_refused(database: Tracking, chain: Chain, store: Store, kind: str) -> None:
    report = chain.report()
    register(chain.model, report, CONFIG, store, database)
    manifest, name = (report, "report.json") if kind == "evaluation_report" else (chain.checkpoint, "model.safetensors")
    path = Path(store.address_of(manifest)) / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=f"{name} does not match its SHA-256"):
        Releases(database, store, chain.model).verified(1)


def test_a_version_that_forge_did_not_register_or_whose_tags_were_changed_is_refused(
    database: Tracking, chain: Chain, store: Store
) -> None:
    register(chain.model, chain.report(), CONFIG, store, database)
    releases = Releases(database, store, chain.model)
    database.ask("set_model_version_tag", chain.model, "1", "forge.checkpoint", "0" * 64)
    with pytest.raises(DataError, match="name another checkpoint than its report"):
        releases.verified(1)
    database.ask("delete_model_version_tag", chain.model, "1", "forge.report")
    with pytest.raises(DataError, match="was not registered by Forge"):
        releases.verified(1)


@pytest.mark.parametrize("text", ["", "Clerk", "clerk@", "clerk@a b", "clerk/1", "' OR 1=1"])
def test_what_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        read_target(text)
