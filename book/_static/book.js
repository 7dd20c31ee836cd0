// Wide tables, outputs and formulas scroll inside themselves; the keyboard must be able to reach
// them. Only those that really are too wide become a stop of the tab key.
(function () {
  const SCROLLING = ".output, .drawn, .output div, .output pre, pre, .math-block, .pst-scrollable-table-container";

  function scrolls(box) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    const high = box.scrollHeight > box.clientHeight + 1;
    if (!wide && !high) return false;
    const style = getComputedStyle(box);
    return (wide && /auto|scroll/.test(style.overflowX)) || (high && /auto|scroll/.test(style.overflowY));
  }

  // First everything is measured, then everything is written: the page is laid out once.
  function reachable() {
    const boxes = [...document.querySelectorAll(SCROLLING)].map((box) => [box, scrolls(box)]);
    for (const [box, stop] of boxes) {
      if (stop && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        box.dataset.reachable = "yes";
      } else if (!stop && box.dataset.reachable) {
        box.removeAttribute("tabindex");
        delete box.dataset.reachable;
      }
    }
  }

  // A table that does not fit is set smaller; what then is still too wide scrolls. Columns of words
  // keep room for a few of them (book.css, on a phone).
  function smaller() {
    for (const cell of document.querySelectorAll("table.table td, table.dataframe td"))
      if (cell.textContent.length > 24) cell.classList.add("words");
    const tables = [...document.querySelectorAll("table.dataframe:not(.wide)")];
    const wide = tables.filter((t) => t.scrollWidth > t.parentElement.clientWidth + 1);
    for (const table of wide) {
      table.classList.add("wide");
      for (const cell of table.querySelectorAll("td"))
        if (cell.textContent.length > 60) cell.classList.add("long");
    }
  }

  function fit() {
    smaller();
    reachable();
  }

  window.addEventListener("load", fit);
  window.addEventListener("resize", fit);
})();

// Choices and a search above a long table, for each box with data-filter="name:column, ..." and
// data-rows, what its rows are called. Without a script the table is whole.
(function () {
  function filter(box) {
    const columns = box.dataset.filter.split(",").map((pair) => pair.trim().split(":"));
    const rows = [...box.querySelectorAll("tbody tr")];
    const form = document.createElement("form");
    form.className = "table-filter";
    form.addEventListener("submit", (event) => event.preventDefault());
    const count = document.createElement("p");
    count.setAttribute("role", "status");

    function field(name, input) {
      const label = document.createElement("label");
      label.append(name + " ", input);
      form.append(label, " ");
      input.addEventListener("input", show);
      return input;
    }

    const text = document.createElement("input");
    text.type = "search";
    field("words", text);
    const choices = columns.map(([name, at]) => {
      const select = document.createElement("select");
      const values = [...new Set(rows.map((row) => row.cells[at].textContent))].sort();
      for (const value of ["", ...values]) select.add(new Option(value || "all", value));
      return [at, field(name, select)];
    });

    function show() {
      const wanted = text.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of rows) {
        const words = row.textContent.toLowerCase();
        row.hidden =
          !wanted.every((word) => words.includes(word)) ||
          !choices.every(([at, c]) => !c.value || c.value === row.cells[at].textContent);
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length} ${box.dataset.rows} shown`;
      window.dispatchEvent(new Event("resize")); // what scrolls may have changed
    }

    box.before(form, count);
    show();
  }

  window.addEventListener("load", () => document.querySelectorAll("[data-filter]").forEach(filter));
})();

// Code is folded. One switch opens all of a page, and the browser remembers it.
(function () {
  const FOLDED = "details.hide.above-input";

  function remembered() {
    try {
      return localStorage.getItem("code") === "shown";
    } catch {
      return false; // storage is switched off
    }
  }

  function code() {
    const folded = [...document.querySelectorAll(FOLDED)];
    const button = document.querySelector(".code-switch"); // the build put it under the title
    if (!button) return;

    function show(open) {
      for (const box of folded) box.open = open;
      button.setAttribute("aria-pressed", String(open));
      button.textContent = open ? "Fold the code" : "Show all code";
    }

    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-pressed") !== "true";
      try {
        localStorage.setItem("code", open ? "shown" : "folded");
      } catch {
        // not remembered
      }
      show(open);
    });
    show(remembered());
  }

  window.addEventListener("load", code);
})();
