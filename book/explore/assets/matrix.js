// The matrix explorer: every kept matrix, ordered, grouped, compared; what is behind a cell.
(async function () {
  "use strict";
  const { load, bytes, scores, number, estimate, make, options, table, csv, title } = xlt;
  const at = (id) => document.getElementById(`mx-${id}`);
  const DEFAULTS = {
    a: "matrix-massive_intent", b: "", order: "family", near: "eng", by: "genealogy",
    only: "", group: "", s: "", t: "",
  };
  const index = await load("matrices");
  const languages = index.languages;
  const nameOf = (key) => languages[key]?.[0] ?? key;
  const wait = at("status");

  // ---- one matrix as numbers
  async function matrix(key) {
    const raw = await load(`matrix-${key}`);
    raw.score ??= [];
    if (typeof raw.score === "string")
      for (const part of ["score", "low", "high"]) raw[part] = scores(raw[part]);
    raw.row ??= new Map(raw.rows.map((r, i) => [r, i]));
    raw.column ??= new Map(raw.targets.map((t, i) => [t, i]));
    return raw;
  }
  const cell = (m, r, t) => {
    const i = m.row.get(r), j = m.column.get(t);
    return i === undefined || j === undefined ? -1 : i * m.targets.length + j;
  };
  const value = (m, part, r, t) => {
    const i = cell(m, r, t);
    return i < 0 ? NaN : m[part][i];
  };
  const rowName = (m, r) => (m.by_model ? r : nameOf(r));

  // ---- order, choice and groups of rows and columns
  const familyOf = (key) => languages[key]?.[1] ?? "no family known";
  const scriptOf = (key) => languages[key]?.[2] ?? "no script known";
  const groupOf = { family: familyOf, script: scriptOf };

  function wanted(key, only) {
    if (!only) return true;
    const [kind, name] = [only.slice(0, only.indexOf(":")), only.slice(only.indexOf(":") + 1)];
    return groupOf[kind](key) === name;
  }

  function ordered(items, languageOf, mean, s, near) {
    const text = (x) => nameOf(languageOf(x));
    const size = (x) => languages[languageOf(x)]?.[3] ?? -1;
    const like = (x) => {
      const key = languageOf(x);
      return key === s.near ? Infinity : (near?.[s.by]?.[index.order.indexOf(key)] ?? -1);
    };
    const by = {
      name: () => 0,
      family: (x, y) => d3.ascending(familyOf(languageOf(x)), familyOf(languageOf(y))),
      script: (x, y) => d3.ascending(scriptOf(languageOf(x)), scriptOf(languageOf(y))),
      size: (x, y) => d3.descending(size(x), size(y)),
      similarity: (x, y) => d3.descending(like(x), like(y)),
      score: (x, y) => d3.descending(mean(x), mean(y)),
    }[s.order] ?? (() => 0);
    return [...items].sort((x, y) => by(x, y) || d3.ascending(text(x), text(y)));
  }

  // ---- what is shown: rows, columns and a value for each cell
  function view(m, other, s, near) {
    const both = other && { rows: new Set(other.rows), targets: new Set(other.targets) };
    const ofRow = (r) => m.of[m.row.get(r)];
    let rows = m.rows.filter((r) => wanted(ofRow(r), s.only) && (!both || both.rows.has(r)));
    let targets = m.targets.filter((t) => wanted(t, s.only) && (!both || both.targets.has(t)));
    const shown = (r, t) =>
      other ? value(m, "score", r, t) - value(other, "score", r, t) : value(m, "score", r, t);
    const transfer = (r, t) => (ofRow(r) === t ? NaN : shown(r, t));
    const meanOfRow = d3.rollup(rows, ([r]) => d3.mean(targets, (t) => transfer(r, t)) ?? -Infinity, (r) => r);
    const meanOfColumn = d3.rollup(targets, ([t]) => d3.mean(rows, (r) => transfer(r, t)) ?? -Infinity, (t) => t);
    rows = ordered(rows, ofRow, (r) => meanOfRow.get(r), s, near);
    targets = ordered(targets, (t) => t, (t) => meanOfColumn.get(t), s, near);
    const own = { rows, targets, shown, transfer, ofRow, grouped: false };
    if (!s.group || m.by_model) return own;
    const of = groupOf[s.group];
    const down = d3.group(rows, (r) => of(ofRow(r))), across = d3.group(targets, of);
    const cells = (g, h) => down.get(g).flatMap((r) => across.get(h).map((t) => transfer(r, t))).filter(Number.isFinite);
    const count = new Map(), mean = new Map();
    for (const g of down.keys())
      for (const h of across.keys()) {
        const found = cells(g, h);
        count.set(`${g}|${h}`, found.length);
        mean.set(`${g}|${h}`, found.length ? d3.mean(found) : NaN);
      }
    const sorted = (keys) => (s.order === "family" || s.order === "name" ? [...keys].sort(d3.ascending) : [...keys]);
    return {
      rows: sorted(down.keys()), targets: sorted(across.keys()), grouped: true, inside: own,
      shown: (g, h) => mean.get(`${g}|${h}`), count: (g, h) => count.get(`${g}|${h}`),
      sizes: [(g) => down.get(g).length, (h) => across.get(h).length],
    };
  }

  // ---- drawing
  let now = null; // {m, other, v, s, plot}
  const label = (v, m) => ({
    row: (r) => (v.grouped ? r : rowName(m, r)),
    target: (t) => (v.grouped ? t : nameOf(t)),
  });

  function draw() {
    if (!now) return;
    const { m, other, v } = now;
    const box = at("plot");
    const { row, target } = label(v, m);
    const n = v.rows.length, k = v.targets.length;
    if (!n || !k) {
      box.replaceChildren(make("p", {}, "No cell is left: choose other languages."));
      return;
    }
    const width = Math.max(280, box.clientWidth);
    const longest = (items, f) => Math.min(150, 12 + 5.6 * d3.max(items, (x) => f(x).length));
    const left = width < 500 ? Math.min(96, longest(v.rows, row)) : longest(v.rows, row);
    const size = Math.min(34, (width - left - 8) / k);
    const down = Math.max(size, Math.min(34, n > 60 ? size : 12));
    const every = (step) => Math.max(1, Math.ceil(10 / step));
    const top = Math.min(130, longest(v.targets, target));
    const cut = (text, room) => (text.length * 5.5 > room ? `${text.slice(0, Math.max(3, Math.floor(room / 5.5) - 1))}\u2026` : text);
    const grid = new Float64Array(n * k);
    v.rows.forEach((r, i) => v.targets.forEach((t, j) => (grid[i * k + j] = v.shown(r, t))));
    const known = grid.filter(Number.isFinite);
    const far = Math.max(1, Math.ceil(d3.max(known, Math.abs) ?? 1));
    const color = other
      ? { type: "diverging", scheme: "PuOr", domain: [-far, far], label: "difference, points of 100" }
      : { type: "linear", scheme: "cividis", domain: [Math.floor(d3.min(known) / 5) * 5, Math.ceil(d3.max(known) / 5) * 5], label: `${m.metric}, 0 to 100` };
    const tick = (items, step) => d3.range(0, items.length, every(step));
    const plot = Plot.plot({
      width, height: top + n * down + 6, marginLeft: left, marginTop: top, marginBottom: 6, marginRight: Math.max(2, width - left - size * k),
      style: { background: "transparent", color: "currentColor", fontSize: "10px", overflow: "visible" },
      ariaLabel: at("title").textContent, ariaDescription: "Rows are sources, columns are targets; the table below says the same.",
      x: { domain: [0, k], axis: null }, y: { domain: [0, n], reverse: true, axis: null }, color,
      marks: [
        Plot.raster(grid, { width: k, height: n, x1: 0, y1: 0, x2: k, y2: n, fill: (d) => d, imageRendering: "pixelated" }),
        Plot.text(tick(v.rows, down), { x: 0, y: (i) => i + 0.5, text: (i) => cut(row(v.rows[i]), left - 6), textAnchor: "end", dx: -4 }),
        Plot.text(tick(v.targets, size), { x: (i) => i + 0.5, y: 0, text: (i) => cut(target(v.targets[i]), top - 4), textAnchor: "start", rotate: -90, dy: -4 }),
      ],
    });
    xlt.asPicture(plot);
    now.plot = { svg: plot, x: plot.scale("x"), y: plot.scale("y") };
    const mark = d3.select(plot).append("rect").attr("class", "mx-mark").attr("pointer-events", "none");
    now.plot.mark = mark;
    const of = (event) => {
      const [px, py] = d3.pointer(event, plot);
      const j = Math.floor(now.plot.x.invert(px)), i = Math.floor(now.plot.y.invert(py));
      return i >= 0 && i < n && j >= 0 && j < k ? [v.rows[i], v.targets[j]] : null;
    };
    plot.addEventListener("pointermove", (event) => {
      const found = of(event);
      at("hover").textContent = found ? sentence(...found) : "\u00a0";
    });
    plot.addEventListener("pointerleave", () => (at("hover").textContent = "\u00a0"));
    plot.addEventListener("click", (event) => {
      const found = of(event);
      if (found) choose(...found);
    });
    const legend = Plot.legend({ color, width: Math.min(260, width), style: { background: "transparent", color: "currentColor" } });
    box.replaceChildren(plot);
    at("legend").replaceChildren(xlt.asPicture(legend));
    place();
  }

  // the frame around the chosen cell
  function place() {
    const { v, s, plot } = now;
    if (!plot) return;
    const i = v.rows.indexOf(s.s), j = v.targets.indexOf(s.t);
    const { x, y, mark } = plot;
    if (i < 0 || j < 0) return void mark.attr("display", "none");
    mark.attr("display", null).attr("x", x.apply(j) - 1).attr("y", y.apply(i) - 1)
      .attr("width", x.apply(j + 1) - x.apply(j) + 2).attr("height", y.apply(i + 1) - y.apply(i) + 2);
  }

  function sentence(r, t) {
    const { m, other, v } = now;
    const { row, target } = label(v, m);
    if (v.grouped)
      return `${row(r)} to ${target(t)}: ${number(v.shown(r, t))}, mean of ${v.count(r, t)} cells`;
    const own = estimate(value(m, "score", r, t), value(m, "low", r, t), value(m, "high", r, t));
    const more = other ? `; difference ${number(v.shown(r, t))}` : "";
    return `${row(r)} to ${target(t)}: ${own}${more}`;
  }

  const choose = (r, t) => link.set({ s: r, t });

  // ---- what is behind a cell
  async function details() {
    const { m, other, v, s } = now;
    const box = at("cell");
    if (v.grouped) {
      const known = v.rows.includes(s.s) && v.targets.includes(s.t);
      box.replaceChildren(make("p", {}, known ? sentence(s.s, s.t) + " between different languages." : "Choose a cell."));
      return;
    }
    if (cell(m, s.s, s.t) < 0 || !Number.isFinite(value(m, "score", s.s, s.t))) {
      box.replaceChildren(make("p", {}, "This cell was not measured."));
      return;
    }
    const key = s.a, id = `${s.s}|${s.t}|${s.a}|${s.b}`;
    const of = v.ofRow(s.s);
    const [found, alike] = await Promise.all([load(`cells-${key}-${s.t}`), of === s.t ? null : load(`similarity-${of}`)]);
    if (id !== `${now.s.s}|${now.s.t}|${now.s.a}|${now.s.b}`) return; // another one was chosen meanwhile
    const i = m.row.get(s.s), seeds = found.seeds.length;
    const each = scores(found.scores).slice(i * seeds, (i + 1) * seeds);
    const measured = found.seeds.filter((_, j) => Number.isFinite(each[j])).length;
    const heading = `${rowName(m, s.s)} to ${nameOf(s.t)}`;
    const facts = [
      ["Score, 95 % interval", estimate(value(m, "score", s.s, s.t), value(m, "low", s.s, s.t), value(m, "high", s.s, s.t)) + " of 100"],
      ["n", `${m.n_test[m.column.get(s.t)]} test items, ${measured} seed${measured === 1 ? "" : "s"}`],
    ];
    if (of === s.t) facts.push(["In-language", "source and target are one language: not counted as transfer"]);
    if (other) {
      const second = ["score", "low", "high"].map((part) => value(other, part, s.s, s.t));
      facts.push([other.title, estimate(...second)], ["Difference (first minus second)", `${number(v.shown(s.s, s.t))} points`]);
    }
    const runs = new Map((m.runs.rows[s.s] ?? []).map((r) => [r[0], r]));
    const rows = found.seeds.map((seed, j) => {
      const run = runs.get(seed) ?? [];
      return [String(seed), number(each[j]), run[1] ?? "\u2013", run[2] === null || run[2] === undefined ? "\u2013" : String(run[2]), number(100 * (run[3] ?? NaN))];
    }).filter((_, j) => Number.isFinite(each[j]));
    const parts = [
      make("h2", {}, heading),
      make("dl", { class: "facts" }, ...facts.flatMap(([k, x]) => [make("dt", {}, k), make("dd", {}, x)])),
      table("Runs behind it", ["seed", "score", "run", "layer", "validation (source)"], rows),
    ];
    if (alike) {
      const j = index.order.indexOf(s.t);
      const unit = (measure) => (measure === "data_size" ? "log10 of bytes, the poorer language" : "");
      parts.push(table(`Similarity of ${nameOf(of)} and ${nameOf(s.t)}`, ["measure", "value", "observed in both"],
        index.measures.map((measure) => {
          const x = alike[measure][j], c = alike[`coverage_${measure}`]?.[j];
          return [title(measure) + (unit(measure) ? ` (${unit(measure)})` : ""), x === null ? "unknown" : number(x / 1000, 2),
            c === undefined ? "\u2013" : `${Math.round(c / 10)} %`];
        })));
    }
    parts.push(wrong(found, i, measured));
    box.replaceChildren(...parts);
    box.querySelectorAll("table").forEach((x) => x.classList.add("small"));
  }

  // ids of the test items that it got wrong, by in how many of the seeds
  function wrong(found, i, measured) {
    if (!found.wrong)
      return make("p", {}, "Which items it got wrong is not kept for this task: it is scored by F1 or by word, or its answers are not kept.");
    const raw = bytes(found.wrong), seeds = found.seeds.length, step = Math.ceil(found.ids.length / 8);
    const times = found.ids.map((_, k) => {
      let n = 0;
      for (let j = 0; j < seeds; j++) n += (raw[(i * seeds + j) * step + (k >> 3)] >> (7 - (k & 7))) & 1;
      return n;
    });
    const groups = d3.range(measured, 0, -1).map((n) => [n, found.ids.filter((_, k) => times[k] === n)]);
    const list = groups.map(([n, ids]) =>
      make("details", { class: "wrong", "data-times": n },
        make("summary", {}, `Wrong with ${n} of ${measured} seed${measured === 1 ? "" : "s"}: ${ids.length} of ${found.ids.length} items`),
        make("p", { class: "ids" }, ids.join(", ") || "none")));
    return make("div", {}, make("h3", {}, "Test items it got wrong, by id"), ...list);
  }

  // ---- the same as a table
  function tables() {
    const box = at("table");
    if (!at("table-box").open) return void box.replaceChildren();
    const { m, v, s, other } = now;
    const { row, target } = label(v, m);
    if (v.rows.length * v.targets.length <= 3000) {
      box.replaceChildren(table(at("title").textContent, ["source \\ target", ...v.targets.map(target)],
        v.rows.map((r) => [row(r), ...v.targets.map((t) => number(v.shown(r, t)))])));
      return;
    }
    const text = (r, t) => (other ? number(v.shown(r, t)) : estimate(value(m, "score", r, t), value(m, "low", r, t), value(m, "high", r, t)));
    const names = [...new Set([...v.rows, ...v.targets])].sort((x, y) => d3.ascending(nameOf(x), nameOf(y)));
    box.replaceChildren(
      table(`${at("title").textContent}: the row and the column of the chosen cell`,
        ["language", `from ${rowName(m, s.s)}`, `to ${nameOf(s.t)}`],
        names.map((x) => [nameOf(x), text(s.s, x), text(x, s.t)])));
  }

  function download() {
    const { m, v, other, s } = now;
    if (v.grouped) {
      const rows = v.rows.flatMap((r) => v.targets.map((t) => [r, t, number2(v.shown(r, t)), v.count(r, t)]));
      return csv(`${s.a}-by-${s.group}.csv`, [`source_${s.group}`, `target_${s.group}`, other ? "mean_difference" : "mean_score", "cells"], rows);
    }
    const rows = v.rows.flatMap((r) => v.targets.map((t) => {
      const one = ["score", "low", "high"].map((p) => number2(value(m, p, r, t)));
      const two = other ? [...["score", "low", "high"].map((p) => number2(value(other, p, r, t))), number2(v.shown(r, t))] : [];
      return [r, t, ...one, m.n_test[m.column.get(t)], ...two];
    })).filter((row) => row[2] !== "");
    const more = other ? ["second_score", "second_low", "second_high", "difference"] : [];
    csv(`${s.a}${s.b ? `-minus-${s.b}` : ""}.csv`, [m.by_model ? "model" : "source", "target", "score", "low", "high", "n_test", ...more], rows);
  }
  const number2 = (x) => (Number.isFinite(x) ? Math.round(x * 100) / 100 : "");

  // ---- from the link to the page
  async function show(s) {
    wait.textContent = "Loading";
    const known = new Set(index.list.map((x) => x.key));
    const a = known.has(s.a) ? s.a : DEFAULTS.a;
    const b = known.has(s.b) && s.b !== a ? s.b : "";
    const [m, other, near] = await Promise.all([
      matrix(a), b ? matrix(b) : null, s.order === "similarity" ? load(`similarity-${s.near}`).catch(() => null) : null,
    ]);
    s = { ...s, a, b };
    const v = view(m, other, s, near);
    at("title").textContent = other ? `${m.title}, minus ${other.title}` : m.title;
    const usual = (items, key) => (items.includes(key) ? key : items[0] ?? "");
    if (!v.rows.includes(s.s)) s.s = usual(v.rows, "eng");
    if (!v.targets.includes(s.t)) s.t = usual(v.targets.filter((t) => t !== s.s), "swh") || s.s;
    const fresh = !now || ["a", "b", "order", "near", "by", "only", "group"].some((k) => now.s[k] !== s[k]);
    now = { m, other, v, s, plot: fresh ? null : now.plot };
    if (fresh) {
      fill(s, m, v);
      draw();
    } else place();
    const { row, target } = label(v, m);
    for (const [id, chosen] of [["s", s.s], ["t", s.t]]) at(id).value = chosen;
    const cells = v.rows.flatMap((r) => v.targets.map((t) => (v.grouped ? v.shown(r, t) : v.transfer(r, t)))).filter(Number.isFinite);
    at("summary").textContent = v.grouped
      ? `${v.rows.length} by ${v.targets.length} groups, each the mean of its cells between different languages.`
      : `${v.rows.length} ${m.by_model ? "models" : "sources"} by ${v.targets.length} targets. ` +
        (other ? `Mean difference over ${cells.length} shared cells between different languages: ${number(d3.mean(cells))} points.`
               : `Mean of the ${cells.length} cells between different languages: ${number(d3.mean(cells))}.`);
    wait.textContent = s.s && s.t ? sentence(s.s, s.t) : "";
    tables();
    await details();
    at("root").dataset.ready = `${s.a}|${s.b}|${s.s}|${s.t}`;
  }

  function fill(s, m, v) {
    const { row, target } = label(v, m);
    options(at("s"), v.rows.map((r) => ({ value: r, text: row(r) })), s.s);
    options(at("t"), v.targets.map((t) => ({ value: t, text: target(t) })), s.t);
    at("s-label").textContent = m.by_model && !v.grouped ? "Model" : v.grouped ? `Source ${s.group}` : "Source";
    const every = new Set([...m.of, ...m.targets]);
    const groups = (kind) => [...d3.rollup([...every], (x) => x.length, groupOf[kind])]
      .filter(([, n]) => n > 1).sort((x, y) => d3.ascending(x[0], y[0]))
      .map(([g, n]) => ({ value: `${kind}:${g}`, text: `${g} (${n})`, under: kind === "family" ? "Family" : "Script" }));
    options(at("only"), [{ value: "", text: "all languages" }, ...groups("family"), ...groups("script")], s.only);
    options(at("near"), [...every].sort((x, y) => d3.ascending(nameOf(x), nameOf(y))).map((k) => ({ value: k, text: nameOf(k) })), s.near);
    const like = index.list.filter((x) => x.key !== s.a);
    const same = (x) => (x.task === m.task ? "Same task" : "Other tasks");
    options(at("b"), [{ value: "", text: "nothing" }, ...["Same task", "Other tasks"].flatMap((g) => like.filter((x) => same(x) === g).map((x) => ({ value: x.key, text: x.title, under: g })))], s.b);
    for (const id of ["a", "order", "by", "group"]) at(id).value = s[id];
    at("similar").hidden = s.order !== "similarity";
    at("group").disabled = m.by_model;
  }

  const link = xlt.state(DEFAULTS, (s) => show({ ...s }).catch((error) => (wait.textContent = error.message)));
  const folders = { matrix: "Probed encoder, 5 to 205 languages", text2text: "Text to text", live: "Measured live with the book", open: "Small models pre-trained for the book", "open-long": "Small models pre-trained for the book", curves: "Few-shot runs, their zero-shot scores", "curves-slots": "Few-shot runs, their zero-shot scores" };
  const shape = (x) => `${x.title}, ${x.shape.join(" by ")}`;
  const folderOf = (key) => Object.keys(folders).sort((x, y) => y.length - x.length).find((f) => key.startsWith(`${f}-`));
  options(at("a"), index.list.map((x) => ({ value: x.key, text: shape(x), under: folders[folderOf(x.key)] })), link.get().a);
  options(at("by"), index.measures.map((x) => ({ value: x, text: title(x) })), link.get().by);
  for (const id of ["a", "b", "order", "near", "by", "only", "group", "s", "t"])
    at(id).addEventListener("change", () => link.set({ [id]: at(id).value, ...(id === "group" || id === "a" ? { s: "", t: "" } : {}) }));
  at("plot").addEventListener("keydown", (event) => {
    const { v, s } = now;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const clamp = (i, n) => Math.max(0, Math.min(n - 1, i));
    const i = v.rows.indexOf(s.s), j = v.targets.indexOf(s.t);
    if (step) choose(v.rows[clamp(i + step[0], v.rows.length)], v.targets[clamp(j + step[1], v.targets.length)]);
    else if (event.key === "Home") choose(s.s, v.targets[0]);
    else if (event.key === "End") choose(s.s, v.targets.at(-1));
    else if (event.key === "PageUp") choose(v.rows[0], s.t);
    else if (event.key === "PageDown") choose(v.rows.at(-1), s.t);
    else return;
    event.preventDefault();
  });
  at("table-box").addEventListener("toggle", () => now && tables());
  at("csv").addEventListener("click", download);
  xlt.onResize(at("plot"), draw);
  await show({ ...link.get() });
})();
