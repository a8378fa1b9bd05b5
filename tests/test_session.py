"""One session on the available device, and nothing of the process changed when it is closed."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import RUNTIME, one_in

from tf1_mtl import InputError, build_graph, feeds, open_session, train
from tf1_mtl.session import _choose

CPU = "/job:localhost/replica:0/task:0/device:CPU:0"
SECOND = CPU.replace("CPU:0", "CPU:1")
GPU = "/job:localhost/replica:0/task:0/device:GPU:0"
TWO_CPUS = tf.ConfigProto(device_count={"CPU": 2})


def placed_on(session, net):
    """The devices that one joint step really ran on."""
    session.run(net.init)
    batch = feeds.article_draw(np.random.RandomState(0))("joint")
    metadata = tf.RunMetadata()
    session.run(
        [net.Optimiser, net.Joint_Loss],
        feed_dict={net.X: batch.X, net.Y1: batch.Y1, net.Y2: batch.Y2},
        options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE),
        run_metadata=metadata,
    )
    products = {
        found.device
        for found in metadata.step_stats.dev_stats
        if any(node.node_name.split(":")[0] == "MatMul" for node in found.node_stats)
    }
    return products & {CPU, SECOND}


def test_automatic():
    net = build_graph()
    with open_session(net) as session:
        names = [found.name for found in session.list_devices()]
        gpus = [name for name in names if ":GPU:" in name]
        assert session.device == (gpus or [CPU])[0]


@pytest.mark.parametrize(
    "device", one_in(4, ["cpu", "/cpu:0", "/device:CPU:0", "/CPU:0", CPU], RUNTIME)
)
def test_cpu(device):
    net = build_graph()
    with open_session(net, device) as session:
        assert isinstance(session, tf.Session)
        assert session.graph is net.graph
        assert session.device == CPU
        assert placed_on(session, net) == {CPU}


def test_a_plain_graph():
    net = build_graph()
    with open_session(net.graph, "/cpu:0") as session:
        assert session.graph is net.graph
        assert placed_on(session, net) == {CPU}


def test_second_device():
    net = build_graph()
    with open_session(net, "/device:CPU:1", TWO_CPUS) as session:
        assert session.device == SECOND
        assert placed_on(session, net) == {SECOND}


def test_the_first_gpu_listed_is_the_automatic_choice():
    listed = [CPU, GPU, GPU.replace("GPU:0", "GPU:1"), CPU.replace("CPU", "XLA_CPU")]
    assert _choose("auto", listed) == GPU
    assert _choose("gpu", listed) == GPU
    assert _choose("cpu", listed) == CPU
    assert _choose("/gpu:1", listed) == GPU.replace("GPU:0", "GPU:1")
    assert _choose("auto", [CPU]) == CPU


@pytest.mark.parametrize(
    "device",
    [
        *("/device:FOO:0", "/device:CPU:1", "/cpu:7", "/gpu:99", "cpu:0:0", "CPU", "cuda", ""),
        *("/job:worker/cpu:0", "//", "/device:CPU:*", "gpu0", "/device:cpu"),
    ],
)
def test_a_device_that_is_not_there(device):
    with pytest.raises(InputError) as raised:
        open_session(tf.Graph(), device)
    assert str(raised.value).startswith(f"device: {device!r} is not there; TensorFlow lists ")
    assert CPU in str(raised.value)


def test_gpu_where_there_is_none():
    with open_session(build_graph()) as session:
        has_gpu = any(found.device_type == "GPU" for found in session.list_devices())
    if has_gpu:
        with open_session(build_graph(), "gpu") as session:
            assert session.device == GPU
    else:
        with pytest.raises(InputError, match="'gpu' is not there"):
            open_session(build_graph(), "gpu")


def test_a_refused_device_leaves_the_graph_as_it_was():
    net = build_graph()
    before = net.graph.as_graph_def()
    with pytest.raises(InputError):
        open_session(net, "/device:FOO:0")
    with open_session(net):
        assert net.graph.as_graph_def() == before


def test_the_users_config_is_kept_and_not_changed():
    config = tf.ConfigProto(intra_op_parallelism_threads=1)
    before = config.SerializeToString()
    with open_session(build_graph(), "cpu", config) as session:
        assert session._config.intra_op_parallelism_threads == 1
    assert config.SerializeToString() == before


def test_same_seed_same_bits_for_any_number_of_threads():
    losses = []
    for threads in (1, 2, 4):
        rng = np.random.RandomState(1)
        net = build_graph(rng)
        config = tf.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        with open_session(net, config=config) as session:
            session.run(net.init)
            batches = feeds.alternate(feeds.article_draw(rng), rng, 30)
            losses.append([step.loss for step in train(net, session, batches)])
    assert losses[0] == losses[1] == losses[2]


def test_no_global_state_outlives_the_session():
    eager = tf.executing_eagerly()
    session = open_session(build_graph())
    session.close()
    session.close()  # closing twice is allowed, and counts once
    assert tf.executing_eagerly() == eager
    assert tf.get_default_session() is None


@pytest.mark.skipif(
    not hasattr(
        getattr(getattr(tf, "config", None), "experimental", None),
        "enable_tensor_float_32_execution",
    ),
    reason="this TensorFlow has no TF32 switch (it came with 2.4), so no TF32 either",
)
def test_tf32_is_off_while_a_session_is_open():
    switch = tf.config.experimental
    for before in (True, False):
        switch.enable_tensor_float_32_execution(before)
        try:
            with open_session(build_graph()):
                assert not switch.tensor_float_32_execution_enabled()
                with open_session(build_graph()):
                    assert not switch.tensor_float_32_execution_enabled()
                assert not switch.tensor_float_32_execution_enabled()
            assert switch.tensor_float_32_execution_enabled() == before
            with pytest.raises(InputError):
                open_session(build_graph(), "/device:FOO:0")
            assert switch.tensor_float_32_execution_enabled() == before
        finally:
            switch.enable_tensor_float_32_execution(True)
