"""Reads the addresses of a cluster from a file; no TensorFlow is imported here."""

import json
import socket
from typing import Any, Dict, List

from tf1_mtl.errors import InputError, printable

_SHAPE = '{"ps": ["HOST:PORT"], "worker": ["HOST:PORT", "HOST:PORT"]}'

Spec = Dict[str, List[str]]  #: the addresses of each job, as `tf.train.ClusterSpec` takes them


def read_spec(path: str) -> Spec:
    """Returns the addresses of the servers in a file of JSON.

    Args:
      path: Holds an object like {"ps": ["a:2222"], "worker": ["b:2222", "c:2222"]}: one server of
        the job `ps` and at least two of the job `worker`.

    Raises:
      InputError: The file cannot be read, or is something else.
    """
    where = f"--cluster: {printable(path)}"
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}. Give `local`, or a file: {_SHAPE}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON ({error}), but should be {_SHAPE}.") from None
    if not isinstance(spec, dict) or set(spec) != {"ps", "worker"}:
        raise InputError(f"{where}: should have the jobs ps and worker and no others: {_SHAPE}.")
    for job, addresses in spec.items():
        if not isinstance(addresses, list):
            raise InputError(f"{where}: {job} should be a list of addresses: {_SHAPE}.")
        for task, address in enumerate(addresses):
            _check_address(f"{where}: /job:{job}/task:{task}", address)
    if len(spec["ps"]) != 1 or len(spec["worker"]) < 2:
        raise InputError(
            f"{where}: has {len(spec['ps'])} servers of the job ps and {len(spec['worker'])} of "
            f"the job worker, but should have one and at least two: {_SHAPE}."
        )
    every = [address for addresses in spec.values() for address in addresses]
    twice = sorted({address for address in every if every.count(address) > 1})
    if twice:
        raise InputError(f"{where}: has {twice[0]} twice. Give each server an address of its own.")
    return spec


def port_of(address: str) -> int:
    """Returns the port of an address."""
    return int(address.rpartition(":")[2])


def takes_connections(address: str, seconds: float) -> bool:
    """Returns whether a server takes a connection in time."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        socket.create_connection((host, port_of(address)), seconds).close()
    except OSError:
        return False
    return True


def _check_address(where: str, address: Any) -> None:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        shown = printable(repr(address))
        raise InputError(f"{where}: is {shown}, but should be HOST:PORT, as in 10.0.0.2:2222.")
