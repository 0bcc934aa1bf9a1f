"""Verbs of the HTTP interface and of data: what leaves a study, what is erased from it."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.verbs import Folder, KeyFile, StoreUrl, Unit, group, verb

group("keys", "API keys of the HTTP interface.")


@verb("serve", "wavewise serve my-study --port 8080 --key-file study.key")
def serve(
    folder: Folder,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    key_file: KeyFile = None,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", help="Public URL at which providers reach it."),
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Also send messages that are due.")] = False,
    openapi: Annotated[
        bool, typer.Option("--openapi", help="Describe the interface at /openapi.json.")
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Also show the pages, to a team with accounts.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Receive events, messages and opt-outs over HTTP."""


@verb("app", "wavewise app studies")
def app(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A study folder, or a folder of studies.")
    ] = Path(),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address; it works once.")
    ] = False,
    key_file: KeyFile = None,
    store: StoreUrl = None,
) -> None:
    """Show studies in a browser, at this machine alone."""


@verb("keys make", 'wavewise keys make my-study --name "the app"')
def keys_make(
    folder: Folder,
    name: Annotated[str, typer.Option(help="Who will use the key.")],
    store: StoreUrl = None,
) -> None:
    """Make an API key; it is shown once."""


@verb("keys list", "wavewise keys list my-study")
def keys_list(folder: Folder, store: StoreUrl = None) -> None:
    """List API keys by id and name."""


@verb("keys revoke", "wavewise keys revoke my-study 1f3a9c02")
def keys_revoke(
    folder: Folder,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` shows it.")],
    store: StoreUrl = None,
) -> None:
    """Revoke an API key."""


group("team", "Who may come in by the pages of `serve --pages`.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="What they sign in with.")]
Role = Annotated[str, typer.Option("--role", help="owner, analyst, field or viewer.")]


@verb("team invite", "wavewise team invite my-study ana@example.org --role owner")
def team_invite(folder: Folder, name: Name, role: Role, store: StoreUrl = None) -> None:
    """Invite somebody; the address that it prints works once."""


@verb("team list", "wavewise team list my-study")
def team_list(folder: Folder, store: StoreUrl = None) -> None:
    """List who was invited, who has joined, and as what."""


@verb("team role", "wavewise team role my-study ana@example.org --role viewer")
def team_role(folder: Folder, name: Name, role: Role, store: StoreUrl = None) -> None:
    """Give somebody another role; their sessions end."""


@verb("team remove", "wavewise team remove my-study ana@example.org")
def team_remove(folder: Folder, name: Name, store: StoreUrl = None) -> None:
    """Close somebody's account; what they did stays in the audit log."""


@verb("audit", "wavewise audit my-study --out audit.csv")
def audit(
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write: CSV, or JSON by its ending."),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Show who did what, when, and from which version of the plan."""


# Data: public files, exports, erasure.

group("data", "Get the public data of the worked studies.")


@verb("data get", "wavewise data get gotv --from downloads/gotv.csv.gz")
def data_get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="gotv or pad.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A local copy, instead of a download.")
    ] = None,
) -> None:
    """Put a public data file into the cache, its SHA-256 checked."""


@verb("export", "wavewise export my-study --out my-study-data")
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR2", help="Folder to make.")],
    store: StoreUrl = None,
) -> None:
    """Write research data as CSV: no contact details, no names."""


@verb("erase", "wavewise erase my-study --unit 007")
def erase(folder: Folder, unit: Unit, store: StoreUrl = None) -> None:
    """Erase what identifies a unit; it gets no more messages."""


@verb("backup", "wavewise backup my-study --out my-study.backup")
def backup(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")],
    store: StoreUrl = None,
) -> None:
    """Copy the study's database, also while it is in use."""


@verb("restore", "wavewise restore my-study my-study.backup")
def restore(
    folder: Folder,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    store: StoreUrl = None,
) -> None:
    """Put a copy in the database's place; sending is held."""
