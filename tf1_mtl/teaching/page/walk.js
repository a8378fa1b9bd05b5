"use strict";
// Reads the graph of the page without a browser, so that a test can compare it with `explain`.

// Returns the nodes that a run executes: backward from the fetches, up to what is fed.
function walk(graph, fetches, fed) {
  const found = new Set(), waiting = [...fetches];
  while (waiting.length) {
    const node = waiting.pop();
    if (found.has(node) || fed.has(node)) continue;
    found.add(node);
    waiting.push(...graph.nodes[node].inputs);
  }
  return found;
}

// Returns what a run needs, reads and writes, and which variables several ops write in any order.
function plan(graph, fetches, fed) {
  const runs = walk(graph, fetches, fed), needed = walk(graph, fetches, new Set());
  const writers = new Map(), reads = new Set();
  for (const node of runs) {
    graph.nodes[node].reads.forEach((variable) => reads.add(variable));
    for (const variable of graph.nodes[node].writes)
      writers.set(variable, [...(writers.get(variable) || []), node]);
  }
  const after = (one, other) => walk(graph, [one], fed).has(other);
  const unordered = [...writers].filter(([, ops]) => ops.some((one, index) =>
    ops.slice(index + 1).some((other) => !after(one, other) && !after(other, one))));
  const unfed = Object.keys(graph.feeds).filter((name) =>
    needed.has(graph.feeds[name]) && !fed.has(graph.feeds[name]));
  return { runs, needed, reads, writers, unfed, unordered: new Map(unordered) };
}
