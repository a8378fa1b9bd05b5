"""Measures which process of a cluster runs which nodes in one run, and what they send.

A full trace of TensorFlow has an entry for each tensor that a process receives from another one,
with its bytes. The graphs into which TensorFlow cuts the graph tell the rest of it.
"""

import re
import textwrap
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import ROWS
from tf1_mtl.graph_reader import VARIABLES
from tf1_mtl.teaching.planning import Element, Names

_WIDTH = 96
_RUNS = 20  #: after which an incomplete trace is an error
#: TensorFlow names an edge between two processes after its number and the node where it starts.
_EDGE = re.compile(r"edge_\d+_(.*)")
#: The node that stands for what is fed.
_FED = re.compile(r"_recv_(.*)_\d+")
#: A constant is copied to each process that needs it.
_COPY = re.compile(r"/replicate/_\d+$")


class Sent(NamedTuple):
    """Describes a message from one process to another."""

    tensor: str  #: as the article calls it, or the name of its node
    start: str
    end: str
    dtype: str  #: "" if nothing but the order is sent: a control edge
    shape: Tuple[int, ...]
    bytes: int  #: of the tensor, as the process received it


class Traffic(NamedTuple):
    """Describes one run over several processes."""

    fetches: Tuple[str, ...]
    nodes: Dict[str, Tuple[str, ...]]  #: process -> the nodes of the graph that ran there
    named: Dict[str, Tuple[str, ...]]  #: process -> the names of the article, and variables
    fed_at: Tuple[str, ...]  #: the processes that what is fed goes to first
    sent: Tuple[Sent, ...]

    @property
    def bytes(self) -> int:
        return sum(message.bytes for message in self.sent)

    def as_json(self) -> Dict[str, Any]:
        """Returns everything for `json.dumps`."""
        sent = [message._asdict() for message in self.sent]
        return {**self._asdict(), "sent": sent, "bytes": self.bytes}

    def __str__(self) -> str:
        lines = [f"session.run([{', '.join(self.fetches)}])", ""]
        lines.append("process             nodes  variables, and names of the article")
        for process, nodes in self.nodes.items():
            text = f"{process:20}{len(nodes):>5}  {', '.join(self.named[process]) or 'none'}"
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 27, break_on_hyphens=False)
        width = max([len(message.tensor) for message in self.sent] + [12]) + 2
        title = f"{'what is sent':{width}}{'from':11}{'to':11}{'type':9}{'shape':9}{'bytes':>6}"
        lines += ["", title]
        for tensor, start, end, dtype, shape, size in self.sent:
            what = f"{dtype:9}{list(shape)!s:9}" if dtype else f"{'order only':18}"
            lines.append(f"{tensor:{width}}{_short(start):11}{_short(end):11}{what}{size:>6}")
        lines.append(f"{f'all {len(self.sent)}':{width}}{'':40}{self.bytes:>6}")
        lines += [
            "",
            "Measured in one run, with TensorFlow's graph optimizer on, as in training.",
            "Bytes are those of the tensors. gRPC adds some to each message.",
        ]
        if self.fed_at:
            at = ", ".join(map(_short, self.fed_at))
            lines.append(f"The client sends what it feeds to {at}, which is not counted here.")
        return "\n".join(lines)


def measure(
    names: Names, elements: Sequence[Element], feeds: Sequence[tf.Tensor], session: tf.Session
) -> Traffic:
    """Runs once in a session on a cluster, which is a real step, and returns what was sent.

    A trace may end before the last tensors are in it. Then the run is made again.

    Args:
      names: Those of the graph, whose nodes have a process.
      elements: The fetched operations and tensors.
      feeds: The tensors that are fed, with ones. Where any number of rows fits, it is 10.
      session: Open on the graph, with its variables initialized.

    Raises:
      InputError: The run fails, or its traces are not whole.
    """
    ones = {tensor: np.ones(_fed_shape(tensor), "float32") for tensor in feeds}
    traced = _Traced([_process(device.name) for device in session.list_devices()])
    for _ in range(_RUNS):
        metadata = tf.RunMetadata()
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE, output_partition_graphs=True)
        try:
            session.run(list(elements), ones, options=options, run_metadata=metadata)
        except tf.errors.OpError as error:
            raise InputError(f"the run fails: {error.message}. Fetch or feed others.") from error
        traced.add(metadata)
        if traced.is_whole():
            return traced.traffic(names, elements)
    raise InputError("the traces of TensorFlow are not whole. Run the same command again.")


class _Traced:
    """Holds what the traces of the same run tell."""

    def __init__(self, processes: Sequence[str]) -> None:
        self._ran: Dict[str, Set[str]] = {
            process: set() for process in sorted(processes, key=_number)
        }
        self._shapes: Dict[str, List[Tuple[int, ...]]] = {}
        self._received: Dict[str, int] = {}
        self._sends: List[Any] = []
        self._fed: Set[str] = set()

    def add(self, metadata: Any) -> None:
        for stats in metadata.step_stats.dev_stats:
            if stats.device.startswith("/job:"):  # TensorFlow 1 lists the nodes a second time
                for node in stats.node_stats:
                    self._add_node(_process(stats.device), node)
        parts = [node for part in metadata.partition_graphs for node in part.node]
        self._sends = [
            node
            for node in parts
            if node.op == "_Send" and len({_process(device) for device in _devices(node)}) == 2
        ]
        fed = [node for node in parts if node.op == "_Recv" and _FED.fullmatch(node.name)]
        self._fed = {_process(node.device) for node in fed}

    def _add_node(self, process: str, node: Any) -> None:
        outputs = [output.tensor_description for output in node.output]
        if node.node_name == "RecvTensor":
            (edge,) = re.findall(r"\] (edge_\S+) from ", node.timeline_label)
            self._received[edge] = outputs[0].allocation_description.requested_bytes
            return
        self._ran[process].add(_COPY.sub("", node.node_name))
        self._shapes[node.node_name] = [
            tuple(int(dim.size) for dim in output.shape.dim) for output in outputs
        ]

    def is_whole(self) -> bool:
        """Returns whether the bytes of all that is sent are known."""
        return {_edge(node) for node in self._sends} <= set(self._received)

    def traffic(self, names: Names, elements: Sequence[Element]) -> Traffic:
        """Returns all of it, in the order of the graph."""
        ops = names.graph.get_operations()
        nodes = {
            process: tuple(op.name for op in ops if op.name in ran)
            for process, ran in self._ran.items()
        }
        known = {op.name for op in ops if op.name in names.article or op.type in VARIABLES}
        named = {
            process: tuple(names.article.get(name, name) for name in these if name in known)
            for process, these in nodes.items()
        }
        order = {op.name: number for number, op in enumerate(ops)}
        sent = [self._sent(names, node) for node in self._sends]
        sent.sort(key=lambda pair: (order.get(pair[0], len(ops)), pair[0], pair[1].end))
        return Traffic(
            fetches=tuple(names.spoken(element) for element in elements),
            nodes=nodes,
            named=named,
            fed_at=tuple(sorted(self._fed)),
            sent=tuple(message for _, message in sent),
        )

    def _sent(self, names: Names, node: Any) -> Tuple[str, Sent]:
        """Returns the node where a message starts, and the message."""
        edge = _edge(node)
        (source,) = _EDGE.findall(edge)
        output, _, slot = node.input[0].partition(":")
        fed = _FED.fullmatch(source)
        start = fed.group(1) if fed else source
        dtype: str = ""
        shape: Tuple[int, ...] = ()
        if output == source:  # else a constant that TensorFlow made, for the order
            dtype = tf.as_dtype(node.attr["T"].type).name
            if fed:
                shape = _fed_shape(names.graph.get_tensor_by_name(f"{start}:0"))
            else:
                shape = self._shapes[source][int(slot or 0)]
        start_process, end = map(_process, _devices(node))
        name = names.article.get(start, start)
        return start, Sent(name, start_process, end, dtype, shape, self._received[edge])


def _fed_shape(tensor: tf.Tensor) -> Tuple[int, ...]:
    return tuple(size or ROWS for size in tensor.shape.as_list())


def _edge(node: Any) -> str:
    name: str = node.attr["tensor_name"].s.decode()
    return name


def _devices(node: Any) -> List[str]:
    return [node.attr[name].s.decode() for name in ("send_device", "recv_device")]


def _process(device: str) -> str:
    spec = tf.DeviceSpec.from_string(device)
    return f"/job:{spec.job}/task:{spec.task}"


def _number(process: str) -> Tuple[str, int]:
    """Returns a key that sorts task 2 before task 10."""
    job, _, task = process.rpartition(":")
    return job, int(task)


def _short(process: str) -> str:
    """Returns "ps/0" for "/job:ps/task:0"."""
    return re.sub(r"/job:(\w+)/task:(\d+)", r"\1/\2", process)
