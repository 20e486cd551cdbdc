"""The command line as the tests call it: in this process, with what it prints."""

from typer.main import get_command
from typer.testing import CliRunner

from refwfm.cli import app

COMMAND = get_command(app)
"""Built once: typer's own runner builds it for each call, which takes longer than most commands."""


def refwfm(*arguments, **environment):
    runner = CliRunner(env=environment)
    return super(CliRunner, runner).invoke(COMMAND, [str(argument) for argument in arguments])


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
