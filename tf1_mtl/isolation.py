"""Runs a command in a network namespace of its own, which no other machine or process can reach.

A TensorFlow server listens on every interface, and asks nobody for a name or a password. So
`--cluster local` starts its servers only where every network interface but loopback is down. As a
module, `python -m tf1_mtl.isolation ARGUMENT...`, this makes such a place for `tf1-mtl ARGUMENT...`
on Linux, without the rights of an administrator.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from typing import List, Sequence

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # sched.h
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # sockios.h, if.h


def is_isolated() -> bool:
    """Returns whether every network interface but loopback is down."""
    return not any(_flags(name) & _UP for _, name in socket.if_nameindex() if name != "lo")


def run_isolated(arguments: Sequence[str]) -> None:
    """Replaces this process by one that runs `tf1-mtl` with these arguments, isolated."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "tf1_mtl.isolation", *arguments])


def _flags(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        given = struct.pack("16sH14x", name.encode(), 0)
        flags: int = struct.unpack("16sH14x", fcntl.ioctl(sock, _GET_FLAGS, given))[1]
    return flags


def isolate() -> None:
    """Enters a new user namespace and a new network namespace, and brings up its loopback.

    Raises:
      OSError: The system forbids it.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER | _NEW_NET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sH14x", b"lo", _flags("lo") | _UP))


def _main(arguments: List[str]) -> int:
    try:
        isolate()
    except (OSError, AttributeError) as error:
        print(
            f"tf1-mtl: --cluster local: this system allows no network namespace ({error}), and "
            "without one every server would be open to the network. Nothing was started. Allow "
            "unprivileged user namespaces, or run in a container without a network.",
            file=sys.stderr,
        )
        return 2
    from tf1_mtl.cli import main  # imports NumPy, whose threads would keep the namespace away

    return main(arguments)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
