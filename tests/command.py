"""Runs `tf1-mtl` in this process."""

from tf1_mtl import cli


def run(capsys, *args):
    """Returns (exit status, stdout, stderr) of a command."""
    try:
        status = cli.main([str(arg) for arg in args])
    except SystemExit as exit_:  # that of argparse
        status = exit_.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


def done(capsys, *args):
    """Returns the stdout of a command that must succeed."""
    status, out, err = run(capsys, *args)
    assert status == 0, err
    return out
