"""The way in and out."""

from dataclasses import replace

from wavewise.server.pages.forms import Form
from wavewise.server.pages.routes import Answer, Screen, Visit, screen, step


@screen("/enter", "open")
def enter(visit: Visit) -> Answer:
    """The address that the program prints: its token opens the studies, once."""
    token = visit.request.query_params.get("token", "")
    found = visit.keeper.sign_in(visit.request, Form({"token": token}))
    return found or Screen("sign_in.html", {"wrong": True}, 401)


@screen("/sign-in", "open")
def sign_in(_visit: Visit) -> Answer:
    """Who has no session."""
    return Screen("sign_in.html", {"wrong": False})


@step("/sign-in", "open", "", back="/sign-in")
def sign_in_by_form(visit: Visit) -> Answer:
    """The token, or what accounts ask for."""
    found = visit.keeper.sign_in(visit.request, visit.form)
    return found or replace(Screen("sign_in.html", {"wrong": True}), status=401)


@step("/sign-out", "open", "", back="/sign-in")
def sign_out(visit: Visit) -> Answer:
    """The session ends."""
    return visit.keeper.sign_out(visit.request)
