"""``/v1/push/worker.js``: the service worker with which a web page shows what was pushed."""

from importlib.resources import files

from fastapi import APIRouter, Response

__all__ = ["router"]

router = APIRouter(prefix="/v1/push")


@router.get("/worker.js")
def worker() -> Response:
    """The script, allowed for every page of the site that passes it on."""
    script = files("wavewise.server").joinpath("static/push-worker.js").read_text(encoding="utf-8")
    headers = {"Service-Worker-Allowed": "/", "Cache-Control": "no-cache"}
    return Response(script, media_type="text/javascript", headers=headers)
