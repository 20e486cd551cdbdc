"""Options of a command made from the classes that declare them (``training.options``)."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING
from typing import Annotated, Any

import typer

from refwfm.training.options import Option, options_of


def with_options(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every option of these classes.

    The command gets those that were given, as keywords. Where several classes have an option, the first one
    says what it is; the help names the defaults of all.
    """
    declared: dict[str, list[Option]] = {}
    for kind in kinds:
        for name, each in options_of(kind).items():
            declared.setdefault(name, []).append(each)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        made = [_parameter(alike) for name, alike in declared.items() if name not in signature.parameters]

        @functools.wraps(command)
        def with_those_given(**arguments: Any) -> None:
            absent = [each.name for each in made if arguments[each.name] is None]
            command(**{name: value for name, value in arguments.items() if name not in absent})

        with_those_given.__signature__ = signature.replace(parameters=[*own, *made])  # type: ignore[attr-defined]
        with_those_given.__annotations__ = {each.name: each.annotation for each in (*own, *made)}
        return with_those_given

    return decorate


def _parameter(alike: list[Option]) -> inspect.Parameter:
    first = alike[0]
    described = typer.Option(help=_help(alike), rich_help_panel=first.panel or None)
    optional: Any = first.kind | None
    annotation = Annotated[optional, described]
    return inspect.Parameter(first.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(alike: list[Option]) -> str:
    first = alike[0]
    choices = f" One of {', '.join(first.choices)}." if first.choices else ""
    known = [each.default for each in alike if each.default not in (MISSING, None)]
    if not known or first.kind is bool:
        return first.help + choices
    values = (f"{value:g}" if first.kind is float else str(value) for value in known)
    return f"{first.help}{choices} (default {' or '.join(dict.fromkeys(values))})"
