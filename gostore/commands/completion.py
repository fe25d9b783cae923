"""``gostore completion``: what a shell needs to complete the names of commands and options."""

from __future__ import annotations

import argparse
import os

import click
from click.shell_completion import get_completion_class, shell_complete

from gostore.client.cli.program import program
from gostore.commands.main import COMPLETES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.description = (
        'Prints a script for the shell. For bash: eval "$(gostore completion bash)" in ~/.bashrc;'
        ' for zsh the same with zsh in ~/.zshrc; for fish: "gostore completion fish |'
        ' source" in ~/.config/fish/config.fish.'
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def run(parsed: argparse.Namespace) -> int:
    """Print the script."""
    found = get_completion_class(parsed.shell)
    assert found is not None
    print(found(program, {}, "gostore", COMPLETES).source())
    return 0


def answer(commands: dict[str, argparse.ArgumentParser]) -> int:
    """Tell the shell what fits; ``commands`` are those for a directory."""
    described = {name: _described(name, parser) for name, parser in commands.items()}
    for name in described.keys() & program.commands.keys():
        # It is for a directory or for a daemon, by its options.
        options, known = described[name].params, program.commands[name].params
        names = {each.name for each in known}
        described[name].params = [*known, *(each for each in options if each.name not in names)]
    both = click.Group(commands={**program.commands, **described}, params=program.params)
    return shell_complete(both, {}, "gostore", COMPLETES, os.environ[COMPLETES])


def _described(name: str, parser: argparse.ArgumentParser) -> click.Command:
    """A command of argparse as click completes it."""
    params: list[click.Parameter] = [
        click.Option(
            [*action.option_strings, action.dest],
            is_flag=action.nargs == 0,
            help=action.help,
            type=None if action.nargs == 0 else click.Path(),
        )
        for action in parser._actions
        if action.option_strings and not isinstance(action, argparse._HelpAction)
    ]
    params.append(click.Argument(["arguments"], nargs=-1, type=click.Path()))
    return click.Command(name, params=params, help=parser.description)
