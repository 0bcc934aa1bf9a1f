"""The HTTP interface of one study."""

from fastapi import FastAPI

from wavewise import __version__
from wavewise.server import calls, events, inbound, push, receipts, scores, unsubscribe
from wavewise.server.answers import add_error_answers
from wavewise.server.settings import Settings

__all__ = ["build_app"]


def build_app(settings: Settings) -> FastAPI:
    """An application that any ASGI server can run.

    Parameters
    ----------
    settings : Settings
        The open study, keys and secrets.
    """
    app = FastAPI(title="Wavewise", version=__version__, docs_url=None, redoc_url=None)
    app.state.settings = settings
    add_error_answers(app)
    for module in (calls, events, inbound, push, receipts, scores, unsubscribe):
        app.include_router(module.router)

    @app.get("/v1/health")
    def health() -> dict[str, str]:
        """Whether the study's database answers."""
        settings.study.store.n_units()
        return {"status": "ok", "version": __version__}

    return app
