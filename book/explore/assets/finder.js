// The source finder: the library's recommendation for a language and a task, with its reasons.
(async function () {
  "use strict";
  const { load, number, estimate, make, options, pause, table, csv, title } = xlt;
  const at = (id) => document.getElementById(`sf-${id}`);
  const DEFAULTS = { target: "kaz", task: "massive_intent", n: "0", goal: "" };
  const [index, languages] = await Promise.all([load("finder"), load("languages")]);
  await pause();
  const nameOf = (key) => languages[key]?.[0] ?? key;
  const points = (x) => x / 100;
  const ofBytes = (n) => {
    const step = Math.min(4, Math.floor(Math.log10(n) / 3)), rest = n / 1000 ** step;
    return `about ${number(rest, rest < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][step]}`;
  };
  const full = (key) => `${nameOf(key)} (${key})`;

  let now = null; // {s, found, rows}

  async function show(s) {
    if (!languages[s.target]) s.target = DEFAULTS.target;
    if (!index.tasks[s.task]) s.task = DEFAULTS.task;
    field.show(s.target);
    at("task").value = s.task;
    at("n").value = s.n;
    at("goal").value = s.goal;
    const part = await load(`finder-${s.target.slice(0, 2)}`).catch(() => ({}));
    const found = part[s.target]?.[s.task] ?? {};
    const rows = (found.sources ?? []).map(([source, score, low, high, chance, measured, why], i) => ({
      rank: i + 1, source, score: points(score), low: points(low), high: points(high), chance: chance / 10, measured: !!measured, why,
    }));
    now = { s, found, rows };
    at("title").textContent = `Sources for ${full(s.target)}: ${index.tasks[s.task]}`;
    at("status").textContent = rows.length
      ? `${nameOf(rows[0].source)} is first, ${rows[0].measured ? "measured" : "expected"} at ${estimate(rows[0].score, rows[0].low, rows[0].high)}.`
      : `No ranking is kept for ${nameOf(s.target)} and this task.`;
    draw();
    list();
    more();
    few();
    at("root").dataset.ready = [s.target, s.task, s.n, s.goal].join("|");
  }

  // ---- the ranked sources, as a picture and as a table
  function draw() {
    const { s, rows } = now, box = at("plot");
    if (!rows.length) return box.replaceChildren();
    const width = Math.max(280, box.clientWidth);
    const plot = Plot.plot({
      width, height: 52 + 24 * rows.length, marginLeft: Math.min(150, width / 3), marginRight: 16, marginTop: 8, marginBottom: 44,
      style: { background: "transparent", color: "currentColor", fontSize: "12px" },
      ariaLabel: `${at("title").textContent}, scores with 90 % intervals; the table below says the same.`,
      x: { label: "score to expect, 0 to 100", labelOffset: 38, grid: true, nice: true, domain: [d3.min(rows, (r) => r.low), d3.max(rows, (r) => r.high)] },
      y: { domain: rows.map((r) => r.source), tickFormat: nameOf, label: null },
      marks: [
        Plot.link(rows, { y: "source", x1: "low", x2: "high", stroke: "currentColor", strokeOpacity: 0.55, strokeWidth: 2 }),
        Plot.dot(rows, { y: "source", x: "score", r: 5, fill: (r) => (r.measured ? "currentColor" : "var(--pst-color-primary, #0d57b8)"), symbol: (r) => (r.measured ? "square" : "circle") }),
      ],
    });
    box.replaceChildren(xlt.asPicture(plot));
  }

  function list() {
    const { rows } = now;
    if (!rows.length) return at("table").replaceChildren();
    at("table").replaceChildren(table(at("title").textContent, ["source", "rank", "score, 90 % interval", "best?", "why"],
      rows.map((r) => [full(r.source), String(r.rank), estimate(r.score, r.low, r.high), `${number(r.chance)} %`, r.why || "\u2013"])));
  }

  function more() {
    const { s, found, rows } = now, box = at("more");
    const parts = [make("h2", {}, "What the ranking rests on")];
    if (!rows.length) {
      parts.push(make("p", {}, `The book keeps rankings of ${index.kept[s.task] ?? 0} languages for this task, this one is not among them. Ask for it with `,
        make("code", {}, `xlt recommend ${s.target} --task ${s.task}`), "."));
    } else {
      const best = found.best.split(" ").map((x) => x.split(":"));
      const likely = d3.sort(rows, (r) => -r.chance).slice(0, 2).map((r) => `${nameOf(r.source)} in ${number(r.chance, 0)}`);
      parts.push(make("p", {}, `Rests on ${index.notes[found.note]}`),
        make("p", { id: "sf-steady" }, `In 100 draws of what the predictions leave open, the best source of all is ${likely.join(", ")}.`),
        make("p", { id: "sf-set" }, `Trained together, best score to expect with each added: ${best.map(([k, x]) => `${nameOf(k)} ${number(100 * x)}`).join(", ")}.`),
        make("p", {}, "The same on the command line: ", make("code", {}, `xlt recommend ${s.target} --task ${s.task}`)));
    }
    const [, family, script, size, , , seen] = languages[s.target];
    const facts = [
      ["Family", family ?? "none known"], ["Script", script ?? "none known"],
      ["Text in CC-100", size === null ? "none" : ofBytes(10 ** size)],
      ...index.typology.map((m, i) => [title(m), `${seen[i]} % of its features observed`]),
    ];
    parts.push(make("h3", {}, `What is known of ${nameOf(s.target)}`),
      make("dl", { class: "facts" }, ...facts.flatMap(([k, x]) => [make("dt", {}, k), make("dd", {}, x)])));
    box.replaceChildren(...parts);
  }

  // ---- expected score against n, and how many examples a goal takes
  function few() {
    const { s, found } = now, box = at("few");
    const parts = [make("h2", {}, "With examples of the target")];
    if (!found.few) {
      parts.push(make("p", {}, "Few-shot curves were measured for intents and slots; for this task there are none."));
      return box.replaceChildren(...parts);
    }
    const rows = Object.entries(found.few).flatMap(([source, points_]) =>
      points_.map(([n, score, low, high]) => ({ source, n, score: points(score), low: points(low), high: points(high) })));
    const sources = [...new Set(rows.map((r) => r.source))];
    const width = Math.max(280, Math.min(640, box.clientWidth));
    const chosen = +s.n;
    // names at the ends of the lines, pushed apart where they would overlap
    const ends = d3.sort(sources.map((x) => rows.findLast((r) => r.source === x)), (r) => r.score);
    const apart = (d3.max(rows, (r) => r.high) - d3.min(rows, (r) => r.low)) / 15;
    ends.forEach((r, i) => (r.at = i ? Math.max(r.score, ends[i - 1].at + apart) : r.score));
    const plot = Plot.plot({
      width, height: 312, marginLeft: 44, marginRight: 14 + 8 * d3.max(sources, (x) => nameOf(x).length), marginBottom: 44, style: { background: "transparent", color: "currentColor", fontSize: "12px" },
      ariaLabel: `Expected score against the number of examples of ${nameOf(s.target)}, a line a source; the table below says the same.`,
      x: { type: "log", base: 2, label: "examples of the target", labelOffset: 38, ticks: index.examples, tickFormat: String },
      y: { label: "expected score", grid: true, nice: true }, color: { domain: sources, scheme: "Observable10" },
      marks: [
        Plot.areaY(rows, { x: "n", y1: "low", y2: "high", fill: "source", fillOpacity: 0.12 }),
        Plot.lineY(rows, { x: "n", y: "score", stroke: "source", strokeWidth: 2 }),
        Plot.text(ends, { x: "n", y: "at", text: (r) => nameOf(r.source), fill: "currentColor", textAnchor: "start", dx: 6 }),
        chosen ? Plot.ruleX([chosen], { stroke: "currentColor", strokeDasharray: "4 3" }) : null,
      ],
    });
    parts.push(make("figure", {}, make("figcaption", {}, `Expected score against examples of ${nameOf(s.target)}, with 95 % intervals`), make("div", { class: "plot" }, xlt.asPicture(plot))));
    const wanted = chosen ? [chosen] : [16, 256, 4096];
    const value = (source, n) => rows.find((r) => r.source === source && r.n === n);
    const order = [...sources].sort((x, y) => d3.descending(value(x, wanted[0]).score, value(y, wanted[0]).score));
    const examples = table(`Score to expect after training on a source and n examples of ${nameOf(s.target)}, 95 % interval`,
      ["source", ...wanted.map((n) => `n = ${n}`)],
      order.map((x) => [full(x), ...wanted.map((n) => (({ score, low, high }) => estimate(score, low, high))(value(x, n)))]));
    examples.id = "sf-examples";
    parts.push(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Scores with examples" }, examples));
    const button = make("button", { type: "button", id: "sf-few-csv" }, "Download the curves (CSV)");
    button.addEventListener("click", () => csv(`few-shot-${s.target}-${s.task}.csv`, ["source", "n_target", "score", "low", "high"], rows.map((r) => [r.source, r.n, r.score, r.low, r.high])));
    parts.push(make("p", {}, button));
    const goals = Object.entries(found.goals ?? {}).flatMap(([source, list]) => list.map(([goal, basis, answer]) => ({ source, goal, basis, answer })));
    const asked = goals.filter((g) => !s.goal || g.goal === +s.goal);
    const need = table(`Examples of ${nameOf(s.target)} that a score takes, 95 % interval`, ["after training on", "score to reach", "examples", "by"],
      asked.map((g) => [full(g.source), String(g.goal), g.answer, g.basis === "measured" ? "its own curve" : "curves of other targets"]));
    need.id = "sf-budget";
    parts.push(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Examples needed" }, need));
    box.replaceChildren(...parts);
  }

  // ---- fields
  const link = xlt.state(DEFAULTS, (s) => show({ ...s }).catch((error) => (at("status").textContent = error.message)));
  options(at("task"), Object.entries(index.tasks).map(([value, text]) => ({ value, text })), link.get().task);
  options(at("n"), [{ value: "0", text: "none (zero-shot)" }, ...index.examples.map((n) => ({ value: String(n), text: String(n) }))], link.get().n);
  options(at("goal"), [{ value: "", text: "any" }, ...index.goals.map((g) => ({ value: String(g), text: String(g) }))], link.get().goal);
  const field = xlt.languageField(at("target"), languages, (key, typed, near) => {
    if (key) return void (key !== link.get().target && link.set({ target: key }));
    at("status").textContent = `No language \u201c${typed}\u201d.` + (near.length ? ` Did you mean ${near.join(", ")}?` : "");
  });
  for (const id of ["task", "n", "goal"]) at(id).addEventListener("change", () => link.set({ [id]: at(id).value }));
  at("csv").addEventListener("click", () =>
    csv(`sources-${now.s.target}-${now.s.task}.csv`, ["rank", "source", "measured", "score", "low", "high", "chance_best_percent", "why"],
      now.rows.map((r) => [r.rank, r.source, r.measured, r.score, r.low, r.high, r.chance, r.why])));
  xlt.onResize(at("plot"), () => now && (draw(), few()));
  await show({ ...link.get() });
})();
