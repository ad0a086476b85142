"""Whose fault it is: the errors that a person reads. Each message is one sentence: what is wrong, where, what to do."""


class ForgeError(Exception):
    """An error whose message a person can act on; it ends a stage, and nothing has been published."""


class ConfigError(ForgeError):
    """The YAML, a setting or a command says something impossible; its author mends it. Never retried."""


class DataError(ForgeError):
    """The documents, or a published artifact, are not what they must be. Never retried."""


class PlatformError(ForgeError):
    """The machine or a service failed (disk, database, compiler, killed process); the same request may pass later."""


class GateRefusal(ForgeError):
    """A model did not pass its own gates and is not registered; a verdict, not a fault. Never retried."""
