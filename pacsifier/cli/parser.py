"""The parser of every command: what is wrong with a command line in one line, with the option that was meant.

Values are never told again: they may name patients.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from pacsifier.cli.helping import HelpFormatter

_LIKENESS = 0.6


class _Said(argparse.ArgumentError):
    """A message of ours, which holds no value."""


class Parser(argparse.ArgumentParser):
    """A parser that takes an abbreviation for an option of `documented` where it fits exactly one of them.

    Scripts written when only these existed go on working when an option is added that begins the same way.
    """

    documented: tuple[str, ...] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(exit_on_error=False, **{"formatter_class": HelpFormatter, **settings})
        # From Python 3.14 on argparse would write colours, which our streams spell out.
        self.color = False
        self._optionals.title = "about this command"
        # What stands below the options; what is read of tables for it is read when somebody asks for help.
        self.closing: Callable[[], str] = lambda: self.epilog or ""

    def format_help(self) -> str:
        """The help; what is the same for every command stands last."""
        groups = self._action_groups
        groups.append(groups.pop(groups.index(self._optionals)))
        epilog, self.epilog = self.epilog, self.closing()
        try:
            return super().format_help()
        finally:
            self.epilog = epilog

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as usual; a word that belongs to no option is refused without telling it."""
        given = [*(sys.argv[1:] if args is None else args)]
        parsed, rest = self.parse_known_args(given, namespace)
        if rest:
            before = [self._name(each) for each in given[: given.index(rest[0])] if each.startswith("-")]
            where = f"the word after {before[-1]}" if before else "the first word"
            self.error(f"{where}, or after its value, belongs to no option: quote values that hold blanks")
        return parsed

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as usual, with abbreviations of documented options written out first."""
        given = [self._written_out(each) for each in (sys.argv[1:] if args is None else args)]
        unknown = [*self._unknown(given)]
        if unknown:
            self.error("; ".join(unknown))
        try:
            return super().parse_known_args(given, namespace)
        except _Said as error:
            self.error(str(error))
        except argparse.ArgumentError as error:
            self.error(self._without_values(error))

    def error(self, message: str) -> NoReturn:
        """Ends with one line."""
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")

    def _written_out(self, argument: str) -> str:
        name, equals, value = argument.partition("=")
        meant = [each for each in self.documented if each.startswith(name)]
        if len(name) < 3 or not name.startswith("--") or len(meant) != 1:
            return argument
        return f"{meant[0]}{equals}{value}"

    def _name(self, argument: str) -> str:
        """An option without its value, which may follow a letter at once."""
        name = argument.partition("=")[0]
        return name if name.startswith("--") or name in self._option_string_actions else name[:2]

    def _unknown(self, given: Sequence[str]) -> Iterator[str]:
        """What to say of each option that there is not; the words of argparse would tell values, too."""
        for argument in given:
            if argument == "--":
                return
            if not argument.startswith("-") or argument == "-" or self._is_value(argument):
                continue
            name = argument.partition("=")[0]
            options = self._option_string_actions
            fitting = [each for each in options if each.startswith(name)] if name.startswith("--") else []
            if name in options or len(fitting) == 1:
                continue
            if fitting:
                yield f"option {name} may be {' or '.join(fitting)}"
            elif name.startswith("--") or name[:2] not in options or f"-{name}" in options:
                yield self._unknown_option(name)

    def _is_value(self, argument: str) -> bool:
        """Whether it is a value in spite of its hyphen: a number, or a text with a blank."""
        if argument.partition("=")[0] in self._option_string_actions:
            return False
        return " " in argument or self._negative_number_matcher.match(argument) is not None

    def _unknown_option(self, name: str) -> str:
        if f"-{name}" not in self._option_string_actions:
            name = self._name(name)
        spelled = {each.strip("-").casefold(): each for each in self._option_string_actions if len(each) > 2}
        wanted = name.strip("-").replace("-", "_").casefold()
        near = difflib.get_close_matches(wanted, spelled, n=1, cutoff=_LIKENESS) if len(wanted) > 1 else []
        return f"unknown option {name}" + (f": did you mean {spelled[near[0]]}?" if near else "")

    def _without_values(self, error: argparse.ArgumentError) -> str:
        if error.argument_name is None:
            return error.message
        actions = {"/".join(each.option_strings): each for each in self._actions}
        action = actions.get(error.argument_name)
        takes_none = action is not None and action.nargs == 0
        return (
            f"argument {error.argument_name}: {'takes no value' if takes_none else 'expected one argument'}"
        )

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            own = isinstance(error.__context__, argparse.ArgumentTypeError)
            raise _Said(action, error.message if own else "a value of this kind is not allowed") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise _Said(action, f"invalid choice; allowed: {', '.join(map(str, action.choices))}")
