"use strict";
// Makes the page an instrument: tick what a run fetches and feeds, and see what it does. Without
// this script the page is all there but for section "try" and the copy buttons.
(() => {
  const byId = (id) => document.getElementById(id);
  const graph = JSON.parse(byId("try-graph").textContent);
  const words = JSON.parse(byId("try-words").textContent);
  const names = (numbers) => numbers.map((number) => graph.nodes[number].name);

  // The nodes that a run executes: backward from the fetches, stopping at what is fed.
  function walk(fetches, fed) {
    const found = new Set(), waiting = [...fetches];
    while (waiting.length) {
      const node = waiting.pop();
      if (found.has(node) || fed.has(node)) continue;
      found.add(node);
      waiting.push(...graph.nodes[node].inputs);
    }
    return found;
  }

  // What a run needs, reads and writes; `unordered`: variables that several ops write in any order.
  function plan(fetches, fed) {
    const runs = walk(fetches, fed), needed = walk(fetches, new Set());
    const writers = new Map(), reads = new Set();
    for (const node of runs) {
      graph.nodes[node].reads.forEach((variable) => reads.add(variable));
      for (const variable of graph.nodes[node].writes)
        writers.set(variable, [...(writers.get(variable) || []), node]);
    }
    const after = (one, other) => walk([one], fed).has(other);
    const unordered = [...writers].filter(([, ops]) => ops.some((one, index) =>
      ops.slice(index + 1).some((other) => !after(one, other) && !after(other, one))));
    const unfed = Object.keys(graph.feeds).filter((name) =>
      needed.has(graph.feeds[name]) && !fed.has(graph.feeds[name]));
    return { runs, needed, reads, writers, unfed, unordered: new Map(unordered) };
  }

  // "a {b}" with b taken from values; an array is joined by commas.
  const say = (key, values = {}) => words[key].replace(/{(\w+)}/g, (_, name) =>
    Array.isArray(values[name]) ? values[name].join(words.comma) || words.none : values[name]);

  function element(tag, text = "", attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function ticks(fieldset, choices, ticked) {
    return Object.keys(choices).map((name) => {
      const box = element("input", "", { type: "checkbox", value: name });
      box.checked = ticked.includes(name);
      const label = element("label");
      label.append(box, element("code", name));
      byId(fieldset).append(label);
      return box;
    });
  }

  const parts = graph.boxes.map((_, number) =>
    [...document.querySelectorAll(`[id^="try-box${number}-"]`)]);

  // A box of the drawing gets a class, and its last line says what the run does to it.
  function paint(number, state, text) {
    for (const part of parts[number]) {
      part.setAttribute("class", `${graph.boxes[number].kind} ${state}`);
      if (part.id.endsWith("-state")) part.querySelector("text").textContent = text;
    }
  }

  function draw(found, fed) {
    const [written, read] = found.unfed.length
      ? [words.wouldBeWritten, words.wouldBeRead] : [words.written, words.read];
    graph.boxes.forEach(({ kind, nodes }, number) => {
      const [first] = nodes, running = nodes.filter((node) => found.runs.has(node));
      if (kind === "placeholder") {
        if (!found.needed.has(first)) paint(number, "", fed.has(first) ? words.fedInVain : words.notFed);
        else paint(number, fed.has(first) ? "on" : "missing",
          fed.has(first) ? words.fed : words.missing);
      } else if (kind === "variable") {
        if (found.writers.has(first)) paint(number, "on written", written);
        else if (running.length) paint(number, "on", read);
        else paint(number, "", words.untouched);
      } else {
        const rest = nodes.filter((node) => !running.includes(node));
        const partly = kind === "ops" && rest.length ? say("notRun", { names: names(rest) }) : "";
        paint(number, running.length ? "on" : "", running.length ? partly : words.doesNotRun);
      }
    });
    graph.edges.forEach((nodes, number) => {
      const used = nodes.some((node) => found.runs.has(node));
      byId(`try-edge${number}`).setAttribute("class", used ? "edge on" : "edge");
    });
  }

  function count(found) {
    const rows = graph.groups.map((title) => [title, 0, 0]);
    graph.nodes.forEach((node, number) => {
      rows[node.group][1] += found.runs.has(number);
      rows[node.group][2] += 1;
    });
    rows.push([words.all, found.runs.size, graph.nodes.length]);
    byId("try-rows").replaceChildren(...rows.map((cells) => {
      const row = element("tr", "", cells[1] ? {} : { class: "idle" });
      row.append(...cells.map((cell) => element("td", cell)));
      return row;
    }));
  }

  function line(fetched, fedNames) {
    const feeds = fedNames.map((name) => `${name}: rng.rand(${graph.shapes[name].join(", ")}) * 10`);
    const given = feeds.length ? `, feed_dict={${feeds.join(", ")}}` : "";
    return `session.run([${fetched.join(", ")}]${given})`;
  }

  // What is said aloud: how many nodes run, what is done to the weights, errors and warnings.
  function tell(found, fetches) {
    if (!fetches) return [element("p", words.nothing)];
    const size = { runs: found.runs.size, all: graph.nodes.length }, lines = [];
    if (found.unfed.length) {
      lines.push(element("p", say("fails", size), { class: "bad" }),
        element("p", found.unfed.length > 1 ? words.either : words.error));
      lines.push(...found.unfed.map((name) =>
        element("pre", `InvalidArgumentError: ${graph.errors[name]}`, { class: "error" })));
    } else {
      const weights = graph.weights.map((weight) => say("does", {
        name: graph.nodes[weight].name,
        what: found.writers.has(weight) ? words.isWritten
          : found.reads.has(weight) ? words.isRead : words.isUntouched,
      }));
      lines.push(element("p", say("count", { ...size, weights })));
    }
    if (found.unordered.size) {
      const each = [...found.unordered].sort(([a], [b]) => a - b).map(([variable, ops]) =>
        say("by", { name: graph.nodes[variable].name, ops: ops.length }));
      lines.push(element("p", say("unordered", { each }), { class: "bad warning" }));
    }
    return lines;
  }

  function list(id, numbers) {
    byId(id).textContent = names([...numbers].sort((a, b) => a - b)).join(", ") || words.none;
  }

  const fetches = ticks("try-fetches", graph.fetches, ["Y1_op", "Y1_Loss"]);
  const feeds = ticks("try-feeds", graph.feeds, ["X", "Y1"]);
  const values = (boxes) => boxes.filter((box) => box.checked).map((box) => box.value);

  function show() {
    const fetched = values(fetches), fedNames = values(feeds);
    const fed = new Set(fedNames.map((name) => graph.feeds[name]));
    const found = plan(fetched.map((name) => graph.fetches[name]), fed);
    draw(found, fed);
    count(found);
    byId("try-line").textContent = fetched.length ? line(fetched, fedNames) : "";
    byId("try-status").replaceChildren(...tell(found, fetched.length));
    list("try-reads", found.reads);
    list("try-writes", found.writers.keys());
    const touched = (variable) => found.reads.has(variable) || found.writers.has(variable);
    list("try-untouched", graph.variables.filter((variable) => !touched(variable)));
    list("try-nodes", found.runs);
  }

  // The slider takes the recorded session step by step, and ticks what that step fetched and fed.
  function step() {
    const number = Number(byId("try-step").value), { task, loss, moved, of } = graph.steps[number];
    const run = task === "joint" ? ["Optimiser", "Joint_Loss"] : [`${task}_op`, `${task}_Loss`];
    for (const box of fetches) box.checked = run.includes(box.value);
    for (const box of feeds) box.checked = true;
    const each = names(graph.weights).map((name, index) =>
      say("moved", { name, moved: moved[index], of: of[index] }));
    const text = say("step", { number: number + 1, steps: graph.steps.length, task, loss, each });
    byId("try-step").setAttribute("aria-valuetext", text);
    byId("try-told").textContent = text;
    show();
  }

  function copyButton(listing) {
    const button = element("button", words.copy, { type: "button", class: "copy" });
    button.addEventListener("click", async () => {
      const copy = listing.cloneNode(true);
      copy.querySelectorAll("samp, summary, button").forEach((part) => part.remove());
      try {
        await navigator.clipboard.writeText(copy.textContent.trimEnd() + "\n");
        button.textContent = words.copied;
      } catch (error) {
        button.textContent = words.notCopied;
      }
      setTimeout(() => { button.textContent = words.copy; }, 2000);
    });
    listing.prepend(button);
  }

  document.querySelectorAll("[data-script]").forEach((part) => { part.hidden = false; });
  document.querySelectorAll(".listing").forEach(copyButton);
  for (const box of [...fetches, ...feeds]) box.addEventListener("change", () => {
    byId("try-told").textContent = words.hint;
    show();
  });
  byId("try-step").max = graph.steps.length - 1;
  byId("try-step").addEventListener("input", step);
  show();
  const picture = document.querySelector(".try .picture"); // on a phone wider than the screen
  picture.scrollLeft = (picture.scrollWidth - picture.clientWidth) / 2;
})();
