"""The command line as the tests call it: in this process, with what it prints."""

import functools

from typer import testing

from refwfm.cli import app

# Typer builds the command for each call, which takes longer than most commands: once is enough.
testing._get_command = functools.cache(testing._get_command)


def refwfm(*arguments, **environment):
    return testing.CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments, **environment):
    result = refwfm(*arguments, **environment)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def assert_error(result, *words):
    """One line on stderr, exit code 2, no traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
