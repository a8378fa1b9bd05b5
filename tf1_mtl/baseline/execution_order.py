"""Orders the nodes of a run, with the loops of v1 control flow as units.

Between two operations that no edge orders, a read of a variable comes before a write.
"""

import heapq
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Set,
    Tuple,
    Union,
)

from tf1_mtl.baseline.operations import OPERATIONS, Operation
from tf1_mtl.baseline.recorded_graph import Node, canonical, node_and_output

Source = Tuple[str, int]  # a node and the number of its output
Path = Tuple[str, ...]  # the loops that a node is in, the outermost first

_MERGES = ("Merge", "RefMerge")
_ENTERS, _EXITS = ("Enter", "RefEnter"), ("Exit", "RefExit")
_NEXT = ("NextIteration", "RefNextIteration")
_SWITCHES = ("Switch", "RefSwitch", "_SwitchN")
#: A merge finds out by itself; a trigger waits for dead and living nodes alike.
_NEVER_DEAD = (*_MERGES, "ControlTrigger")


class Step(NamedTuple):
    """Holds one node, with everything that does not change from run to run."""

    node: Node
    operation: Operation
    sources: Tuple[Source, ...]  #: where each input comes from
    may_be_dead: bool  #: it may lie on a branch that is not taken
    controls: Tuple[str, ...]  #: the nodes that make it dead when they are


class Loop(NamedTuple):
    """Holds a loop of v1 control flow."""

    enters: Mapping[str, Source]  #: by `Enter` node: where its value comes from
    constants: Tuple[str, ...]  #: the `Enter` nodes whose value every iteration gets
    steps: Tuple[Any, ...]  #: what one iteration runs: `Step` and inner `Loop`
    again: Tuple[str, ...]  #: the `NextIteration` nodes
    exits: Tuple[str, ...]  #: the `Exit` nodes
    may_be_dead: bool


Steps = List[Union[Step, Loop]]


def source_of(tensor: str, fed: Collection[str]) -> Source:
    """Returns where the evaluator keeps the value of a tensor, which may be fed."""
    return (f"fed {canonical(tensor)}", 0) if canonical(tensor) in fed else node_and_output(tensor)


class Schedule:
    """Orders nodes."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        fed: Collection[str],
        operation_of: Callable[[Node, bool], Operation],
        may_be_dead: Iterable[str] = (),
    ) -> None:
        """Looks at the nodes.

        Args:
          nodes: What a run needs.
          fed: Names of the tensors that the run feeds, without ":0".
          operation_of: Gives the operation of a node; its second argument says whether the node
            may lie on a branch that is not taken.
          may_be_dead: Nodes with known outputs that may lie on such a branch, or behind one.
        """
        self._nodes, self._fed, self._operation_of = nodes, fed, operation_of
        self._waits_for = {name: self._before(node) for name, node in nodes.items()}
        self._paths: Dict[str, Path] = {}
        self.may_be_dead = set(may_be_dead)
        for name in self._ordered(nodes, self._waits_for):
            self._place(nodes[name])

    def steps(self, path: Path = ()) -> Steps:
        """Returns what runs outside of all loops, or in one iteration of the loop at a path."""
        level = len(path)
        unit_of: Dict[str, Any] = {}
        units: Dict[Any, List[str]] = {}
        for name, at in self._paths.items():
            if at[:level] == path:
                unit_of[name] = name if at == path else at[: level + 1]
                units.setdefault(unit_of[name], []).append(name)
        waits_for = {
            unit: {
                unit_of[source]
                for name in names
                for source in self._waits_for[name]
                if source in unit_of and unit_of[source] != unit
            }
            for unit, names in units.items()
        }
        return [
            self._loop(unit, units[unit]) if isinstance(unit, tuple) else self._step(unit)
            for unit in self._ordered(units, waits_for)
            if isinstance(unit, tuple) or self._nodes[unit].op not in _ENTERS
        ]

    def _sources(self, node: Node) -> Tuple[Source, ...]:
        return tuple(source_of(x, self._fed) for x in node.data_inputs)

    def _before(self, node: Node) -> Set[str]:
        """Returns the nodes that must run before one, not counting earlier iterations."""
        names = {name for name, _ in self._sources(node)} | set(node.control_inputs)
        names &= set(self._nodes)
        if node.op in _MERGES:
            names = {name for name in names if self._nodes[name].op not in _NEXT}
        return names

    def _place(self, node: Node) -> None:
        """Finds out in which loops a node is and whether it may be dead; its inputs are known."""
        path: Path = ()
        for name in self._waits_for[node.name]:
            other = self._paths[name]
            if self._nodes[name].op in _EXITS:
                other = other[:-1]
            path = max(path, other, key=len)
        if self._is_behind_branch(node):
            self.may_be_dead.add(node.name)
        if node.op in _ENTERS:
            path = (*path, node.attributes["frame_name"])
        if node.op in _SWITCHES and not path:
            self.may_be_dead.add(node.name)
        self._paths[node.name] = path

    def _step(self, name: str) -> Step:
        node = self._nodes[name]
        in_branch = bool(self._paths[name]) or self._is_behind_branch(node)
        operation = self._operation_of(node, in_branch)
        may_be_dead = in_branch and node.op not in _NEVER_DEAD
        given = node.control_inputs if may_be_dead else ()
        controls = tuple(x for x in given if x in self._nodes or x in self.may_be_dead)
        return Step(node, operation, self._sources(node), may_be_dead, controls)

    def _is_behind_branch(self, node: Node) -> bool:
        before = {name for name, _ in self._sources(node)}.union(node.control_inputs)
        return not self.may_be_dead.isdisjoint(before)

    def _loop(self, path: Path, names: Collection[str]) -> Loop:
        nodes = [self._nodes[name] for name in names if self._paths[name] == path]
        enters = [node for node in nodes if node.op in _ENTERS]
        return Loop(
            {node.name: self._sources(node)[0] for node in enters},
            tuple(node.name for node in enters if node.attributes.get("is_constant")),
            tuple(self.steps(path)),
            tuple(node.name for node in nodes if node.op in _NEXT),
            tuple(node.name for node in nodes if node.op in _EXITS),
            any(node.name in self.may_be_dead for node in enters),
        )

    def _ordered(self, units: Collection[Any], waits_for: Mapping[Any, Set[Any]]) -> List[Any]:
        """Returns units, each after those that it waits for, and writes as late as possible."""
        units = list(units)
        consumers: Dict[Any, List[Any]] = {unit: [] for unit in units}
        missing = {unit: len(waits_for[unit]) for unit in units}
        for unit in units:
            for source in waits_for[unit]:
                consumers[source].append(unit)
        key = {unit: (self._writes(unit), i) for i, unit in enumerate(units)}
        ready = [key[unit] for unit in units if not missing[unit]]
        heapq.heapify(ready)
        ordered: List[Any] = []
        while ready:
            unit = units[heapq.heappop(ready)[1]]
            ordered.append(unit)
            for consumer in consumers[unit]:
                missing[consumer] -= 1
                if not missing[consumer]:
                    heapq.heappush(ready, key[consumer])
        if len(ordered) < len(units):
            raise AssertionError("a cycle outside of the loops of v1 control flow")
        return ordered

    def _writes(self, unit: Any) -> bool:
        if isinstance(unit, tuple):
            return any(self._writes(x) for x, at in self._paths.items() if at[: len(unit)] == unit)
        operation = OPERATIONS.get(self._nodes[unit].op)
        return bool(operation and operation.writes)
