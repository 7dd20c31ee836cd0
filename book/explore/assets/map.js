// The similarity map: one language against all others, by each measure of xltlib.languages.similarity.
(async function () {
  "use strict";
  const { load, bytes, number, make, options, pause, table, csv, title } = xlt;
  const at = (id) => document.getElementById(`sm-${id}`);
  const DEFAULTS = { target: "swh", by: "word_order", than: "genealogy", seen: "25" };
  const [raw, languages] = await Promise.all([load("features"), load("languages")]);
  await pause();
  const keys = raw.keys, place = new Map(keys.map((k, i) => [k, i]));
  const nameOf = (key) => languages[key][0];
  const full = (key) => `${nameOf(key)} (${key})`;
  const imputed = bytes(raw.values), observed = bytes(raw.observed), step = raw.step;
  const ones = Uint8Array.from({ length: 256 }, (_, i) => i.toString(2).replaceAll("0", "").length);
  const measures = [...Object.keys(raw.masks), "genealogy", "geography"];

  // the bytes that a measure looks at, with its bits in each
  const masks = Object.fromEntries(
    Object.entries(raw.masks).map(([m, text]) => [m, [...bytes(text)].map((bits, k) => [k, bits]).filter(([, bits]) => bits)])
  );

  // features of two languages under the mask of a measure
  function common(bits, i, j, mask) {
    let n = 0;
    for (const [k, own] of mask) n += ones[bits[i * step + k] & bits[j * step + k] & own];
    return n;
  }
  const lengths = Object.fromEntries(Object.keys(masks).map((m) => [m, keys.map((_, i) => common(imputed, i, i, masks[m]))]));

  // 1 - 2 arccos(cos) / pi of two vectors of zeros and ones
  function angular(i, j, m) {
    const length = Math.sqrt(lengths[m][i] * lengths[m][j]);
    return length ? 1 - (2 / Math.PI) * Math.acos(Math.min(1, common(imputed, i, j, masks[m]) / length)) : NaN;
  }
  const above = (i) => {
    const out = [];
    for (let node = raw.leaf[i]; node >= 0; node = raw.parent[node]) out.push(node);
    return out;
  };
  const ancestors = keys.map((_, i) => above(i));
  function kinship(i, j) {
    if (raw.row[i] === raw.row[j]) return 1;
    const mine = new Set(ancestors[i]);
    const shared = ancestors[j].filter((node) => mine.has(node)).length;
    return (2 * shared) / Math.max(1, ancestors[i].length + ancestors[j].length);
  }
  const globe = keys.map((k) => {
    const [lat, lon] = languages[k].slice(4, 6).map((x) => (x * Math.PI) / 180);
    return languages[k][4] === null ? null : [Math.cos(lat) * Math.cos(lon), Math.cos(lat) * Math.sin(lon), Math.sin(lat)];
  });
  function nearness(i, j) {
    const [a, b] = [globe[i], globe[j]];
    if (!a || !b) return NaN;
    return 1 - Math.acos(Math.max(-1, Math.min(1, a[0] * b[0] + a[1] * b[1] + a[2] * b[2]))) / Math.PI;
  }
  const known = (i) => ancestors[i].length > 0;
  const similarity = (measure, i, j) =>
    measure === "genealogy" ? kinship(i, j) : measure === "geography" ? nearness(i, j) : angular(i, j, measure);
  const coverage = (measure, i, j) =>
    measure === "genealogy" ? +(known(i) && known(j)) : measure === "geography" ? NaN
      : common(observed, i, j, masks[measure]) / raw.sizes[measure];

  // ---- one language against all
  let now = null, turns = 0;
  function against(key) {
    const i = place.get(key);
    const rows = [];
    for (let j = 0; j < keys.length; j++) {
      if (j === i) continue;
      const row = { key: keys[j], value: {}, seen: {} };
      for (const m of measures) {
        row.value[m] = similarity(m, i, j);
        row.seen[m] = coverage(m, i, j);
      }
      rows.push(row);
    }
    return rows;
  }
  const enough = (row, m, least) => Number.isFinite(row.value[m]) && !(row.seen[m] * 100 < least);
  const ranked = (rows, m, least) =>
    rows.filter((r) => enough(r, m, least)).sort((x, y) => d3.descending(x.value[m], y.value[m]) || d3.ascending(x.key, y.key));
  const share = (x) => (Number.isFinite(x) ? `${Math.round(100 * x)} %` : "\u2013");

  async function show(s) {
    if (!place.has(s.target)) s.target = DEFAULTS.target;
    for (const id of ["by", "than"]) if (!measures.includes(s[id])) s[id] = DEFAULTS[id];
    const least = +s.seen || 0;
    field.show(s.target);
    for (const id of ["by", "than", "seen"]) at(id).value = s[id];
    const turn = ++turns;
    const next = async () => (await pause(), turn === turns); // nothing newer was asked meanwhile
    if (!(await next())) return;
    const rows = now?.s.target === s.target ? now.rows : against(s.target);
    if (!(await next())) return;
    now = { s, rows, least };
    const first = ranked(rows, s.by, least);
    at("title").textContent = `Similarity to ${full(s.target)} by ${title(s.by)}`;
    at("status").textContent = first.length
      ? `Nearest to ${nameOf(s.target)} by ${title(s.by)}: ${first.slice(0, 3).map((r) => `${nameOf(r.key)} ${number(r.value[s.by], 2)}`).join(", ")}; ${first.length} languages compared.`
      : "No language has that much observed.";
    draw(first);
    if (!(await next())) return;
    neighbours();
    if (!(await next())) return;
    apart();
    at("root").dataset.ready = [s.target, s.by, s.than, s.seen].join("|");
  }

  function draw(first) {
    const { s } = now, box = at("plot");
    const width = Math.max(280, box.clientWidth);
    const spot = (r) => languages[r.key].slice(4, 6);
    const dots = first.filter((r) => spot(r)[0] !== null).reverse();
    const near = dots.slice(-8).reverse();
    const own = [{ key: s.target }].filter((r) => spot(r)[0] !== null);
    const lat = (r) => spot(r)[0], lon = (r) => spot(r)[1];
    const color = { type: "linear", scheme: "viridis", domain: [0, 1], label: `similarity by ${title(s.by)}` };
    const plot = Plot.plot({
      width, height: Math.round(width * 0.5), projection: { type: "equal-earth", rotate: [-11, 0] }, color,
      style: { background: "transparent", color: "currentColor", fontSize: "11px" },
      ariaLabel: `${at("title").textContent}, a map of ${dots.length} languages; the tables below name the nearest.`,
      marks: [
        Plot.sphere({ stroke: "currentColor", strokeOpacity: 0.4 }), Plot.graticule({ strokeOpacity: 0.12 }),
        Plot.dot(dots, { x: lon, y: lat, r: width < 500 ? 1.6 : 2.4, fill: (r) => r.value[s.by] }),
        Plot.dot(near, { x: lon, y: lat, r: 4, fill: (r) => r.value[s.by], stroke: "currentColor" }),
        Plot.dot(own, { x: lon, y: lat, r: 6, stroke: "#e4572e", strokeWidth: 2.5, symbol: "times" }),
        Plot.text(own, { x: lon, y: lat, text: (r) => nameOf(r.key), dy: -12, fontWeight: "bold", fill: "currentColor", stroke: "var(--pst-color-background, white)", strokeWidth: 4 }),
      ],
    });
    const of = (event) => {
      const group = event.target.closest?.("circle")?.parentNode;
      const i = group ? [...group.children].indexOf(event.target) : -1;
      return (group?.children.length === dots.length ? dots : near)[i];
    };
    plot.addEventListener("pointermove", (event) => {
      const found = of(event);
      at("hover").textContent = found ? `${full(found.key)}: ${number(found.value[s.by], 2)}, observed in both ${share(found.seen[s.by])}` : "\u00a0";
    });
    plot.addEventListener("click", (event) => {
      const found = of(event);
      if (found) link.set({ target: found.key });
    });
    box.replaceChildren(xlt.asPicture(plot));
    at("legend").replaceChildren(xlt.asPicture(Plot.legend({ color, width: Math.min(260, width), style: { background: "transparent", color: "currentColor" } })));
  }

  function neighbours() {
    const { s, rows, least } = now;
    const boxes = measures.map((m) => {
      const own = table(`by ${title(m)}`, ["language", "similarity", "observed in both"],
        ranked(rows, m, least).slice(0, 10).map((r) => [full(r.key), number(r.value[m], 2), share(r.seen[m])]));
      own.dataset.measure = m;
      return own;
    });
    at("near").replaceChildren(make("h2", {}, `Nearest to ${nameOf(s.target)}`), make("div", { class: "columns" }, ...boxes));
  }

  // ---- near by one measure and far by the other: places in the two rankings
  function apart() {
    const { s, rows, least } = now, box = at("apart");
    const parts = [make("h2", {}, `Where ${title(s.by)} and ${title(s.than)} disagree`)];
    const both = rows.filter((r) => enough(r, s.by, least) && enough(r, s.than, least));
    if (s.by === s.than || both.length < 3) {
      parts.push(make("p", {}, s.by === s.than ? "Choose two measures." : "Too few languages have that much observed."));
      return box.replaceChildren(...parts);
    }
    const n = both.length, tenth = Math.ceil(n / 10);
    // of the tenth that is nearest by one measure, those farthest by the other
    const far = (m, other) => {
      const middle = d3.median(both, (r) => r.value[m]); // most languages are of no common family
      const near = d3.sort(both, (r) => -r.value[m], (r) => r.key).slice(0, tenth).filter((r) => r.value[m] > middle);
      return d3.sort(near, (r) => r.value[other], (r) => -r.value[m], (r) => r.key).slice(0, 10);
    };
    const width = Math.max(280, Math.min(560, box.clientWidth));
    const plot = Plot.plot({
      width, height: Math.round(width * 0.7) + 12, marginLeft: 44, marginBottom: 44, grid: true,
      style: { background: "transparent", color: "currentColor", fontSize: "12px" },
      ariaLabel: `${title(s.by)} against ${title(s.than)} for ${n} languages; the tables name those where they disagree most.`,
      x: { label: `similarity by ${title(s.by)}`, labelOffset: 38 }, y: { label: `similarity by ${title(s.than)}` },
      marks: [Plot.dot(both, { x: (r) => r.value[s.by], y: (r) => r.value[s.than], r: 1.8, fill: "var(--pst-color-primary, #0d57b8)", fillOpacity: 0.45 })],
    });
    const list = (m, other, chosen) => {
      const own = table(`near by ${title(m)}, far by ${title(other)}`, ["language", title(m), title(other)],
        chosen.map((r) => [full(r.key), number(r.value[m], 2), number(r.value[other], 2)]));
      own.dataset.near = m;
      return own;
    };
    parts.push(make("p", {}, `Over ${n} languages. Of the tenth that is nearest by one measure (at most ${tenth}), those farthest by the other:`),
      make("div", { class: "columns" }, list(s.by, s.than, far(s.by, s.than)), list(s.than, s.by, far(s.than, s.by))),
      make("figure", {}, make("figcaption", {}, "A point a language"), make("div", { class: "plot" }, xlt.asPicture(plot))));
    box.replaceChildren(...parts);
  }

  // ---- fields
  const link = xlt.state(DEFAULTS, (s) => show({ ...s }).catch((error) => (at("status").textContent = error.message)));
  for (const id of ["by", "than"]) options(at(id), measures.map((m) => ({ value: m, text: title(m) })), link.get()[id]);
  const field = xlt.languageField(at("target"), Object.fromEntries(keys.map((k) => [k, languages[k]])), (key, typed, near) => {
    if (key) return void (key !== link.get().target && link.set({ target: key }));
    at("status").textContent = `No language \u201c${typed}\u201d.` + (near.length ? ` Did you mean ${near.join(", ")}?` : "");
  });
  for (const id of ["by", "than", "seen"]) at(id).addEventListener("change", () => link.set({ [id]: at(id).value }));
  at("csv").addEventListener("click", () => {
    const digits = (x) => (Number.isFinite(x) ? Math.round(1e4 * x) / 1e4 : "");
    csv(`similarity-${now.s.target}.csv`, ["language", "name", ...measures, ...measures.filter((m) => m !== "geography").map((m) => `coverage_${m}`)],
      now.rows.map((r) => [r.key, nameOf(r.key), ...measures.map((m) => digits(r.value[m])), ...measures.filter((m) => m !== "geography").map((m) => digits(r.seen[m]))]));
  });
  xlt.onResize(at("plot"), () => now && show({ ...now.s }));
  await show({ ...link.get() });
})();
