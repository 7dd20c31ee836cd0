// What the explorers share: data that is loaded when it is needed, the state in the link, numbers as
// the book writes them, downloads. Data come as scripts, since a page opened from disk may not read
// files.
(function () {
  "use strict";
  const base = document.currentScript.src.replace(/[^/]*$/, "");
  const then = document.currentScript.dataset.then.split(" ");
  const data = (globalThis.xltData ??= {});
  const asked = new Map();

  async function unpacked(key) {
    const packed = data[key]?.gzip;
    if (!packed) return data[key];
    const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return (data[key] = await new Response(stream).json());
  }

  function load(key) {
    if (!asked.has(key)) {
      asked.set(
        key,
        new Promise((done, fail) => {
          const script = document.createElement("script");
          script.src = `${base}data/${encodeURIComponent(key)}.js`;
          script.onload = () => done(unpacked(key));
          script.onerror = () => {
            asked.delete(key);
            fail(new Error(`${script.src} is not there`));
          };
          document.head.append(script);
        })
      );
    }
    return asked.get(key);
  }

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  // uint16 hundredths of a point of 100 -> points, NaN where nothing was measured
  function scores(text) {
    const raw = new DataView(bytes(text).buffer);
    const out = new Float64Array(raw.byteLength / 2);
    for (let i = 0; i < out.length; i++) {
      const value = raw.getUint16(2 * i, true);
      out[i] = value === 65535 ? NaN : value / 100;
    }
    return out;
  }

  const number = (value, digits = 1) =>
    Number.isFinite(value) ? value.toFixed(digits).replace("-", "\u2212") : "\u2013";
  const estimate = (value, low, high, digits = 1) =>
    Number.isFinite(low + high)
      ? `${number(value, digits)} (${number(low, digits)} to ${number(high, digits)})`
      : number(value, digits);

  // ---- the state is what the link says after #
  function state(defaults, changed) {
    const read = () => ({ ...defaults, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) });
    let current = read();
    window.addEventListener("hashchange", () => {
      current = read();
      changed(current);
    });
    return {
      get: () => current,
      set(part) {
        current = { ...current, ...part };
        const kept = Object.entries(current).filter(([k, v]) => v !== defaults[k]);
        history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
        changed(current);
      },
    };
  }

  // ---- elements
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function options(select, items, chosen) {
    select.replaceChildren();
    let group = null;
    for (const { value, text, under } of items) {
      const option = new Option(text, value, false, value === chosen);
      if (!under) select.append(option);
      else {
        if (group?.label !== under) select.append((group = make("optgroup", { label: under })));
        group.append(option);
      }
    }
    if (select.value !== chosen) select.selectedIndex = Math.max(0, select.selectedIndex);
  }

  // rows of plain values -> a table whose first column names the row
  function table(caption, heads, rows) {
    const body = rows.map((row) =>
      make("tr", {}, ...row.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, cell)))
    );
    return make(
      "table",
      { class: "table" },
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h)))),
      make("tbody", {}, ...body)
    );
  }

  function csv(name, heads, rows) {
    const field = (v) => {
      const text = v === null || v === undefined || Number.isNaN(v) ? "" : String(v);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const text = [heads, ...rows].map((row) => row.map(field).join(",")).join("\n") + "\n";
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ---- a field for one of many languages: typed by name or code, with suggestions
  const order = new Intl.Collator("en");
  const folded = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().trim();

  function languageField(input, languages, chosen) {
    const list = document.getElementById(input.getAttribute("list"));
    const shown = (key) => `${languages[key][0]} (${key})`;
    let listed = null; // made when somebody types
    const every = () =>
      (listed ??= Object.keys(languages)
        .map((key) => ({ key, text: shown(key), name: folded(languages[key][0]) }))
        .sort((a, b) => order.compare(a.name, b.name)));

    function found(text) {
      const all = every();
      const wanted = folded(text);
      const code = /\(([^()]+)\)\s*$/.exec(text)?.[1];
      if (code && languages[code]) return code;
      return all.find((x) => x.key.toLowerCase() === wanted || x.name === wanted)?.key ?? null;
    }

    function suggest() {
      const wanted = folded(input.value), all = every();
      const first = all.filter((x) => x.name.startsWith(wanted) || x.key === wanted);
      const rest = all.filter((x) => !x.name.startsWith(wanted) && x.name.includes(wanted));
      list.replaceChildren(...[...first, ...rest].slice(0, 40).map((x) => new Option("", x.text)));
    }

    input.addEventListener("input", () => {
      suggest();
      const key = /\)\s*$/.test(input.value) ? found(input.value) : null; // chosen from the list
      if (key) chosen(key);
    });
    input.addEventListener("change", () => {
      const key = found(input.value);
      input.setAttribute("aria-invalid", String(!key));
      if (key) {
        input.value = shown(key);
        chosen(key);
      } else chosen(null, input.value, [...list.children].slice(0, 3).map((o) => o.value));
    });
    input.addEventListener("focus", suggest, { once: true });
    return { show: (key) => languages[key] && (input.value = shown(key)) };
  }

  // Let the browser draw what is there, and answer the reader, before more is worked out.
  const pause = () => new Promise((done) => setTimeout(done));

  // Redraw when the room changes, at most once a frame.
  function onResize(element, draw) {
    let width = element.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(element.clientWidth - width) < 8) return;
      width = element.clientWidth;
      requestAnimationFrame(draw);
    }).observe(element);
  }

  const title = (word) => ({ lexical_translit: "lexical (transliterated)" })[word] ?? word.replaceAll("_", " ");

  // A figure of Plot is one picture: the names that it gives its parts are no words.
  function asPicture(svg, words = "") {
    svg.querySelectorAll("[aria-label]").forEach((part) => part.removeAttribute("aria-label"));
    if (words) svg.setAttribute("aria-label", words);
    if (svg.hasAttribute("aria-label")) svg.setAttribute("role", "img");
    else svg.setAttribute("aria-hidden", "true");
    return svg;
  }

  globalThis.xlt = {
    asPicture, load, bytes, scores, number, estimate, state, make, options, table, csv, languageField, onResize, pause, title,
  };

  // The page's words are shown before what draws is fetched.
  requestAnimationFrame(() =>
    setTimeout(() => {
      for (const file of then) {
        const script = document.createElement("script");
        script.src = base + file;
        script.async = false; // in this order
        document.head.append(script);
      }
    })
  );
})();
