"""Lesson 12: one graph over several processes.

A device may be in another process: /job:worker/task:0. A session cuts the graph at the borders of
the devices, and one session.run drives all its parts. What crosses a border is sent. This lesson
runs the article's joint step over three servers, with the losses of one process to the last bit.

A TensorFlow server listens on every network interface and asks for no password. So the program
below runs in a network namespace of its own, on Linux, where loopback is the only interface.

Differs from the published listing: `tf.device`, servers, a seed; `compat.v1`, a graph of its own
and `use_resource=False`. It needs tf1-mtl. Run it: python legacy_examples/12_over_machines.py
"""

import os
import subprocess
import sys
import tempfile

# %% The program: a graph with devices, a cluster, and a session on one of its servers
PROGRAM = '''
import socket

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.isolation import is_isolated


def train(shared, task_1, task_2, target=""):
    """Three joint steps, each part of the graph on its device: losses, partitions, what is sent."""
    rng = np.random.RandomState(12)

    def variable(name, rows):
        return tf.Variable(rng.rand(rows, 20), name=name, dtype="float32", use_resource=False)

    losses = []
    with tf.Graph().as_default() as graph:
        with tf.device(shared):
            X = tf.placeholder("float", [10, 10], name="X")
            shared_layer = tf.nn.relu(tf.matmul(X, variable("share_W", 10)), name="shared_layer")
        for name, device in (("Y1", task_1), ("Y2", task_2)):
            with tf.device(device):
                Y = tf.placeholder("float", [10, 20], name=name)
                layer = tf.nn.relu(tf.matmul(shared_layer, variable("share_" + name, 20)))
                losses.append(tf.nn.l2_loss(Y - layer, name=name + "_Loss"))
        with tf.device(shared):
            Joint_Loss = tf.add(*losses, name="Joint_Loss")
            # Slots are placed with their variable; this places gradients with their operation.
            Optimiser = tf.train.AdamOptimizer().minimize(
                Joint_Loss, colocate_gradients_with_ops=True
            )
        init = tf.global_variables_initializer()
    feed = {"X:0": rng.rand(10, 10), "Y1:0": rng.rand(10, 20), "Y2:0": rng.rand(10, 20)}
    options, metadata = tf.RunOptions(output_partition_graphs=True), tf.RunMetadata()
    with tf.Session(target, graph=graph) as session:
        session.run(init)
        fetches = [Optimiser, Joint_Loss]
        values = [session.run(fetches, feed, options, metadata)[1] for _ in range(3)]
    nodes = [node for part in metadata.partition_graphs for node in part.node]
    sends = [node.attr for node in nodes if node.op == "_Send"]
    keys = ("send_device", "recv_device", "tensor_name")
    sent = [[attributes[key].s.decode() for key in keys] for attributes in sends]
    return values, len(metadata.partition_graphs), sent


# The servers. Here they are three in one process; each could be on a machine of its own.
assert is_isolated(), "the servers would be open to the network"
sockets = [socket.socket() for _ in range(3)]
for sock in sockets:
    sock.bind(("127.0.0.1", 0))
ports = ["127.0.0.1:%d" % sock.getsockname()[1] for sock in sockets]
for sock in sockets:
    sock.close()
cluster = tf.train.ClusterSpec({"ps": ports[:1], "worker": ports[1:]})
jobs = ("ps", 0), ("worker", 0), ("worker", 1)
servers = [tf.train.Server(cluster, job_name=job, task_index=task) for job, task in jobs]

alone, parts, _ = train("", "", "")
print(parts, "part: ", *alone)
devices = ["/job:%s/task:%d" % job for job in jobs]
over, parts, sent = train(*devices, target=servers[0].target)
print(parts, "parts:", *over)
print("The same bits:", alone == over)
for start, end, name in sorted((*devices, edge.split("_", 2)[-1]) for *devices, edge in sent):
    if start != end:  # else it is fetched
        process_of = [device.replace("/replica:0", "")[:-13] for device in (start, end)]
        print(*process_of, name)
'''

# %% Run it where nothing outside can reach the servers
with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "program.py"), "w") as file:
        file.write(PROGRAM)
    command = [sys.executable, "-m", "tf1_mtl.isolation", "run", file.name]
    print(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode(), end="")
