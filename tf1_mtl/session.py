"""Opens a session on the available device, and gives variables their first values."""

from typing import Any, Iterable, List, Optional, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError, did_you_mean
from tf1_mtl.graph import MultiTaskGraph


def open_session(
    net: Union[MultiTaskGraph, tf.Graph],
    device: str = "auto",
    config: Optional[tf.ConfigProto] = None,
) -> "DeviceSession":
    """Opens a session on the available device; no variable is initialized yet.

    Args:
      net: The graph to run: what `build_graph` returned, or any other `tf.Graph`.
      device: "auto" for the first GPU that the session lists, else the CPU; "cpu"; "gpu" for the
        first GPU, or an error; or a TensorFlow device string such as "/device:CPU:0", which is
        written into the nodes of the graph as `with tf.device(...)` would have.
      config: Further settings, for example device_count={"CPU": 2}.

    Returns:
      A `tf.Session` with one more field, `device`: the name of the device chosen. Same build, CPU
      and seed give the same bits. While it is open TensorFlow multiplies in full float32, not in
      TF32, on the GPUs that know TF32; closing it puts the setting back.

    Raises:
      InputError: The device is not available, or is misspelt; the message lists what is available.
    """
    settings = tf.ConfigProto()
    if config is not None:
        settings.CopyFrom(config)
    if device == "cpu":
        settings.device_count["GPU"] = 0
    graph = net if isinstance(net, tf.Graph) else net.graph
    session = DeviceSession(graph=graph, config=settings)
    try:
        session.device = _choose(device, [found.name for found in session.list_devices()])
        if device not in ("auto", "cpu", "gpu"):
            _place(graph, session.device)
    except BaseException:
        session.close()
        raise
    return session


def initialize(
    net: MultiTaskGraph, session: tf.Session, values: Iterable[Tuple[tf.Variable, np.ndarray]]
) -> None:
    """Initializes all variables, some of them with other values than those in the graph.

    Args:
      net: The graph.
      session: Open on it.
      values: Variables and their first values, arrays of the same dtype and shape.
    """
    session.run(net.init, {variable.initial_value: value for variable, value in values})


class DeviceSession(tf.Session):
    """A `tf.Session` that knows its device and keeps TF32 off while it is open."""

    device: str = ""

    def __init__(self, graph: tf.Graph, config: tf.ConfigProto, target: str = "") -> None:
        super().__init__(target, graph=graph, config=config)
        self._full_float32 = True
        _Float32.hold()

    def close(self) -> None:
        """Closes the session and restores the TF32 setting of the process."""
        super().close()
        if self._full_float32:
            self._full_float32 = False
            _Float32.release()


class _Float32:
    """Keeps TF32 off while sessions are open; a process has one switch, which they share.

    The first session that is opened turns TF32 off, the last one that is closed restores it.
    """

    open_sessions = 0
    before = False

    @classmethod
    def hold(cls) -> None:
        switch = _tf32_switch()
        if switch is not None and cls.open_sessions == 0:
            cls.before = switch.tensor_float_32_execution_enabled()
            switch.enable_tensor_float_32_execution(False)
        cls.open_sessions += 1

    @classmethod
    def release(cls) -> None:
        cls.open_sessions -= 1
        switch = _tf32_switch()
        if switch is not None and cls.open_sessions == 0:
            switch.enable_tensor_float_32_execution(cls.before)


def _tf32_switch() -> Any:
    """Returns `tf.config.experimental`, or None before TensorFlow 2.4, which has no TF32."""
    experimental = getattr(getattr(tf, "config", None), "experimental", None)
    return experimental if hasattr(experimental, "enable_tensor_float_32_execution") else None


def _choose(device: str, listed: List[str]) -> str:
    """Returns the full name of the device that was asked for."""
    computing = [name for name in listed if ":XLA_" not in name]
    gpus = [name for name in computing if ":GPU:" in name]
    cpus = [name for name in computing if ":CPU:" in name]
    if device == "auto":
        return (gpus + cpus)[0]
    if device == "cpu":
        return cpus[0]
    wanted = [name for name in computing if _same_device(device, name)]
    if device == "gpu":
        wanted = gpus
    if not wanted:
        raise InputError(
            f"device: {device!r} is not there; TensorFlow lists {', '.join(computing)}. "
            "Ask for auto, cpu, gpu or one of these."
            + did_you_mean([device], {"auto", "cpu", "gpu", *computing} - {device})
        )
    return wanted[0]


def _same_device(asked: str, listed: str) -> bool:
    """Returns True if a device string such as "/gpu:0" means the listed device."""
    try:
        spec = tf.DeviceSpec.from_string(asked)
    except (ValueError, TypeError, AttributeError):
        return False
    full = tf.DeviceSpec.from_string(listed)
    if spec.device_type is None or spec.device_index is None:
        return False
    fields = ("job", "replica", "task", "device_type", "device_index")
    return all(getattr(spec, f) in (None, getattr(full, f)) for f in fields)


def _place(graph: tf.Graph, device: str) -> None:
    # The public API places a node only while it is built; this is what tf.device calls.
    for node in graph.get_operations():
        node._set_device(device)
