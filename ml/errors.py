"""What can go wrong, each named after what a reader should look at."""


class ModelError(Exception):
    """Anything that ``ml`` raises on purpose."""


class ConfigurationError(ModelError):
    """``models.yml`` says something that cannot be meant."""


class FeatureError(ModelError):
    """A feature file is missing, misses a column, or knows more than it may."""


class RegistryError(ModelError):
    """An artefact is absent or damaged, or the alias log does not allow the step."""


class PromotionConflict(RegistryError):
    """Somebody else moved the alias in the meantime."""


class NoChampion(RegistryError):
    """No version of the model has been promoted yet."""


class NobodyToScore(ModelError):
    """No customer is known yet of whom the model could say anything: a shop that has sent no mail has no clicks."""
