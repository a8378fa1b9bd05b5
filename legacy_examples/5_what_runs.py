"""Lesson 5: what one run executes.

The article feeds X, Y1 and Y2 even when it trains one task, and concludes that both labels must be
fed, since the other task still runs forward. It does not. This lesson trains task 1 without Y2,
compares every weight before and after, and lists what TensorFlow really executed.

Differs from the published listing: Y2 is left out where nothing needs it; a seed, so that the
figures can be had again; `compat.v1`, a graph of its own and `use_resource=False`, so that it runs
on TensorFlow 1 and 2 alike. Run it: python legacy_examples/5_what_runs.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

# %% The article's graph: one shared layer, two tasks, three minimize ops
rng = np.random.RandomState(5)
with tf.Graph().as_default() as graph:
    X = tf.placeholder("float", [10, 10], name="X")
    Y1 = tf.placeholder("float", [10, 20], name="Y1")
    Y2 = tf.placeholder("float", [10, 20], name="Y2")
    share_W = tf.Variable(rng.rand(10, 20), name="share_W", dtype="float32", use_resource=False)
    share_Y1 = tf.Variable(rng.rand(20, 20), name="share_Y1", dtype="float32", use_resource=False)
    share_Y2 = tf.Variable(rng.rand(20, 20), name="share_Y2", dtype="float32", use_resource=False)
    shared_layer = tf.nn.relu(tf.matmul(X, share_W))
    Y1_Loss = tf.nn.l2_loss(Y1 - tf.nn.relu(tf.matmul(shared_layer, share_Y1)))
    Y2_Loss = tf.nn.l2_loss(Y2 - tf.nn.relu(tf.matmul(shared_layer, share_Y2)))
    Joint_Loss = Y1_Loss + Y2_Loss
    Optimiser = tf.train.AdamOptimizer().minimize(Joint_Loss)
    Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
    Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)
    init = tf.global_variables_initializer()

x, y1, y2 = rng.rand(10, 10) * 10, rng.rand(10, 20) * 10, rng.rand(10, 20) * 10


# %% The plan: a run needs the fetches, their inputs, the inputs of those, and nothing else
def needed(*fetches):
    """Names of the nodes that a run of these fetches needs: the walk backward through the graph."""
    names, waiting = set(), [getattr(fetch, "op", fetch) for fetch in fetches]
    while waiting:
        node = waiting.pop()
        if node.name not in names:
            names.add(node.name)
            waiting += [tensor.op for tensor in node.inputs] + list(node.control_inputs)
    return names


print(f"The graph has {len(graph.get_operations())} nodes.")
for text, fetches in (
    ("[Y1_op, Y1_Loss]", (Y1_op, Y1_Loss)),
    ("[Y2_op, Y2_Loss]", (Y2_op, Y2_Loss)),
    ("[Optimiser, Joint_Loss]", (Optimiser, Joint_Loss)),
    ("[Y1_Loss]", (Y1_Loss,)),
):
    nodes = needed(*fetches)
    fed = ", ".join(sorted(nodes & {"X", "Y1", "Y2"}))
    print(f"  {text:23} needs {len(nodes):3} nodes and the placeholders {fed}")

# %% The proof: train task 1 without Y2, and look at the weights before and after
session = tf.Session(graph=graph)
session.run(init)
weights = [share_W, share_Y1, share_Y2]
before = session.run(weights)
session.run([Y1_op, Y1_Loss], feed_dict={X: x, Y1: y1})
after = session.run(weights)
print("One step of [Y1_op, Y1_Loss], Y2 not fed:")
for variable, old, new in zip(weights, before, after):
    same = np.array_equal(old, new)
    print(f"  {variable.op.name:8} {'the same in every bit' if same else 'has moved'}")

# %% The trace: TensorFlow lists what it executes, once it is told to run the graph as written
config = tf.ConfigProto()
config.graph_options.rewrite_options.disable_meta_optimizer = True
config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
trace = tf.RunMetadata()
with tf.Session(graph=graph, config=config) as traced:
    traced.run(init)
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    traced.run([Y1_op, Y1_Loss], {X: x, Y1: y1}, options=options, run_metadata=trace)
executed = {stats.node_name for device in trace.step_stats.dev_stats for stats in device.node_stats}
executed &= {node.name for node in graph.get_operations()}
only_task_2 = needed(Y2_op, Y2_Loss) - needed(Y1_op, Y1_Loss)
missing = sorted(needed(Y1_op, Y1_Loss) - executed)
print(f"Executed: {len(executed)} nodes, {len(executed & only_task_2)} of them task 2's own.")
print(f"Needed but not executed: {', '.join(missing)}: they are fed, so nothing computes them.")

# %% What must be fed: a label that the fetch does need
try:
    session.run([Y1_op, Y1_Loss], feed_dict={X: x, Y2: y2})
except tf.errors.InvalidArgumentError as error:
    telling = next(line for line in str(error).splitlines() if "feed" in line)
    print(f"Y2 fed, but not Y1: {telling}")
