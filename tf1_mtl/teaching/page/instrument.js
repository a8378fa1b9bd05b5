// Shows what a run does with the fetches and feeds that the reader ticks. Without this script the
// page lacks section "try" and the copy buttons, and nothing else. walk.js stands above it.
(() => {
  const byId = (id) => document.getElementById(id);
  const graph = JSON.parse(byId("try-graph").textContent);
  const words = JSON.parse(byId("try-words").textContent);
  const names = (numbers) => numbers.map((number) => graph.nodes[number].name);

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

  // Gives a box of the drawing a class, and shows in its last line what the run does to it.
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
    const lines = (box) => box.map((part) => part.textContent.trim().replace(/,$/, ""));
    byId("try-described").textContent =
      parts.map((box) => lines(box).filter(Boolean).join(", ")).join("; ");
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
      const [title, ...numbers] = cells;
      row.append(element("th", title, { scope: "row" }), ...numbers.map((n) => element("td", n)));
      return row;
    }));
  }

  function line(fetched, fedNames) {
    const feeds = fedNames.map((name) => `${name}: rng.rand(${graph.shapes[name].join(", ")}) * 10`);
    const given = feeds.length ? `, feed_dict={${feeds.join(", ")}}` : "";
    return `session.run([${fetched.join(", ")}]${given})`;
  }

  // Returns the lines that a screen reader announces: how many nodes run, what happens to the
  // weights, errors and warnings.
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
    const found = plan(graph, fetched.map((name) => graph.fetches[name]), fed);
    draw(found, fed);
    count(found);
    byId("try-line").textContent = fetched.length ? line(fetched, fedNames) : "";
    nameButton(byId("try-line").parentNode);
    byId("try-status").replaceChildren(...tell(found, fetched.length));
    list("try-reads", found.reads);
    list("try-writes", found.writers.keys());
    const touched = (variable) => found.reads.has(variable) || found.writers.has(variable);
    list("try-untouched", graph.variables.filter((variable) => !touched(variable)));
    list("try-nodes", found.runs);
  }

  // Shows beside the slider, and to a screen reader as its value, where the slider is.
  function tellStep(text) {
    byId("try-step").setAttribute("aria-valuetext", text);
    byId("try-told").textContent = text;
  }

  // Ticks what a step of the recorded session fetched and fed. Position 0 is before the first step.
  function step() {
    const number = Number(byId("try-step").value);
    if (!number) return tellStep(words.hint);
    const { task, loss, moved, of } = graph.steps[number - 1];
    const run = task === "joint" ? ["Optimiser", "Joint_Loss"] : [`${task}_op`, `${task}_Loss`];
    for (const box of fetches) box.checked = run.includes(box.value);
    for (const box of feeds) box.checked = true;
    const each = names(graph.weights).map((name, index) =>
      say("moved", { name, moved: moved[index], of: of[index] }));
    tellStep(say("step", { number, steps: graph.steps.length, task, loss, each }));
    show();
  }

  function codeOf(listing) {
    const copy = listing.cloneNode(true);
    copy.querySelectorAll("samp, summary, button").forEach((part) => part.remove());
    return copy.textContent.trimEnd() + "\n";
  }

  // Names a copy button after the first line of its code, so that a list of buttons is of use.
  function nameButton(listing) {
    const [first] = codeOf(listing).trimStart().split("\n");
    listing.querySelector(".copy").setAttribute("aria-label", `${words.copy}: ${first}`);
  }

  const spoken = element("p", "", { role: "status", class: "spoken" });

  function copyButton(listing) {
    const button = element("button", words.copy, { type: "button", class: "copy" });
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(codeOf(listing));
        button.textContent = words.copied;
      } catch (error) {
        button.textContent = words.notCopied;
      }
      spoken.textContent = button.textContent;
      setTimeout(() => {
        button.textContent = words.copy;
        spoken.textContent = "";
      }, 2000);
    });
    listing.prepend(button);
    nameButton(listing);
  }

  document.querySelectorAll("[data-script]").forEach((part) => { part.hidden = false; });
  document.querySelectorAll(".listing").forEach(copyButton);
  document.body.append(spoken);
  for (const box of [...fetches, ...feeds]) box.addEventListener("change", () => {
    byId("try-step").value = 0;
    step();
    show();
  });
  byId("try-step").max = graph.steps.length;
  byId("try-step").addEventListener("input", step);
  step();
  show();
  // Not every browser lets the keyboard scroll what is wider than its place.
  document.querySelectorAll("pre").forEach((pre) => {
    if (pre.scrollWidth > pre.clientWidth) pre.tabIndex = 0;
  });
  const picture = document.querySelector(".try .picture"); // on a phone wider than the screen
  picture.scrollLeft = (picture.scrollWidth - picture.clientWidth) / 2;
})();
