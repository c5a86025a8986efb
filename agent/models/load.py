"""`load_model`: a model by its name."""

from __future__ import annotations

from typing import Any

from agent.models.budget import Budget, Price
from agent.models.config import Config, load_config
from agent.models.model import Model
from envs import plugins
from envs.errors import UserError


def load_model(name: str, *, config: Config | None = None, budget: Budget | None = None, **flags: Any) -> Model:
    """The model called `name`: an entry point of the group ludens.models, `NAME:ARGUMENT` or `package.module:Name`.

    What is registered is a factory `(argument, *, settings: Settings) -> Backend`; the argument may be left out.
    `config`: by default that of the environment and of the user's file. `budget`: what the run may spend; by default
    one of its own, with the limits of the configuration. `flags`: fields of Settings that go before the configuration.
    Raises UserError for an unknown name, a wrong setting, or a model that can't be loaded.
    """
    from agent.models.wire import split_address  # it needs the extra `models`, which those who only play don't

    split_address(name)  # before an error shows the name: an address may hold what is nobody's business
    config = config or load_config()
    settings = config.settings(name, **flags)
    factory = plugins.load("model", name.removesuffix(":"))
    try:
        backend = factory(settings=settings)
    except (ValueError, OSError, ImportError) as error:
        raise UserError(f"model {name!r}: {error}") from error
    try:
        return Model(
            backend,
            budget=budget or Budget(config.limits.tokens, config.limits.dollars),
            price=Price(*settings.price) if settings.price else None,
            attempts=settings.attempts,
            deadline=settings.deadline,
        )
    except UserError:
        backend.close()
        raise
