// Wide tables, outputs and formulas scroll inside themselves; the keyboard must be able to reach
// them. Only those that really are too wide become a stop of the tab key.
(function () {
  const SCROLLING = ".output, .output *, pre, .math-block, .pst-scrollable-table-container";

  function reachable() {
    for (const box of document.querySelectorAll(SCROLLING)) {
      const style = getComputedStyle(box);
      const scrolls =
        (/(auto|scroll)/.test(style.overflowX) && box.scrollWidth > box.clientWidth + 1) ||
        (/(auto|scroll)/.test(style.overflowY) && box.scrollHeight > box.clientHeight + 1);
      if (scrolls && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        box.dataset.reachable = "yes";
      } else if (!scrolls && box.dataset.reachable) {
        box.removeAttribute("tabindex");
        delete box.dataset.reachable;
      }
    }
  }

  window.addEventListener("load", reachable);
  window.addEventListener("resize", reachable);
})();
