"""Colours for people who see them."""

from __future__ import annotations

import os

import typer


def coloured(text: str, colour: str) -> str:
    """Colour a text, unless its reader asks for none; where no terminal is, `typer.echo` takes it off again.

    Source: no-color.org, and the terminal type `dumb`, which knows no colours.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, fg=colour)
