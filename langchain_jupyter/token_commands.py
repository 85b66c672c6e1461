"""The commands `token set`, `token list` and `token remove`. No token is ever an argument, nor shown."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from langchain_jupyter.errors import SettingsError
from langchain_jupyter.settings import ServerSettings
from langchain_jupyter.tokens import open_tokens

ServerArgument = Annotated[str, typer.Argument(help="The server's address, as the browser shows it.")]


def keep(server: ServerArgument) -> None:
    """Keep the token of a Jupyter server; it is asked for, or read from stdin."""
    settings = ServerSettings(url=server)
    if settings.token.get_secret_value():
        raise SettingsError("The address has the token in it, where other programs can read it. Give it without.")
    token = typer.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    where = open_tokens().set(settings.url, token)
    typer.echo(f"Kept for {settings.url}, {'in the keyring' if where == 'keyring' else 'encrypted in a file'}.")


def show() -> None:
    """List the servers whose tokens are kept; the tokens are not shown."""
    kept = open_tokens().servers()
    for server, where in kept.items():
        typer.echo(f"{server}  ({where})")
    if not kept:
        typer.echo("No tokens are kept. langchain-jupyter token set SERVER keeps one.")


def forget(server: ServerArgument) -> None:
    """Forget the token of a Jupyter server."""
    if not open_tokens().remove(server):
        raise SettingsError(f"No token of {server} is kept. langchain-jupyter token list shows those that are.")
    typer.echo("Forgotten.")
