"""Runs `tf1-mtl` in this process."""

import json

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


def done(capsys, *args, status=0):
    """Returns the stdout of a command that must succeed, or end with another status."""
    ended, out, err = run(capsys, *args)
    assert ended == status, err
    return out


def result(capsys, *args, status=0):
    """Returns what a command gives as JSON."""
    return json.loads(done(capsys, *args, "--json", status=status))


def refused(capsys, *args, folder=None):
    """Returns the stderr of a command that must end with status 2 and print nothing else.

    It must leave every file of the folder as it was, and make no other.
    """
    before = folder and _files(folder)
    status, out, err = run(capsys, *args)
    assert (status, out) == (2, "")
    assert before == (folder and _files(folder))
    return err


def _files(folder):
    return {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}


def assert_holds(text, *fragments, without=()):
    """The text has each of these fragments, and none of those."""
    for fragment in fragments:
        assert fragment in text
    for fragment in without:
        assert fragment not in text
