"""One module a model; each exposes ``MODEL``, a :class:`ml.spec.ModelSpec`, and is configured in ``models.yml``."""
