// The requests table, live: changed rows are replaced, and selection, focus and scroll stay as they are.
(() => {
  const INTERVAL = 10_000; // milliseconds between two refreshes
  const table = document.querySelector("table.requests tbody");
  if (!table || !window.okno?.pollParameters) return;
  const originals = new WeakMap(); // row → the server's HTML, which selection changes
  const keyOf = (row) => row.querySelector("[name=ticket]")?.value;
  let isFirst = true, isDue = false, refreshedAt = 0, timer;

  const start = (row) => originals.set(row, row.outerHTML);
  const replace = (old, row) => {
    row.querySelector("[name=ticket]").checked = old.querySelector("[name=ticket]").checked;
    row.className = old.className;
    old.replaceWith(row);
  };
  const draw = (fresh) => {
    const shown = new Map([...table.rows].map((row) => [keyOf(row), row])), keys = new Set(fresh.map(keyOf));
    // Selected rows stay, also if they belong to another page now.
    for (const [key, row] of shown) if (!keys.has(key) && !row.querySelector("[name=ticket]").checked) row.remove();
    const focused = table.contains(document.activeElement) ? document.activeElement : null;
    const focusedKey = focused && keyOf(focused.closest("tr"));
    let place = table.rows[0];
    for (const row of fresh) {
      const html = row.outerHTML, old = shown.get(keyOf(row));
      let node = old;
      if (!old || originals.get(old) !== html) {
        if (old === place) place = place?.nextElementSibling;
        if (old) replace(old, row);
        node = row;
        originals.set(row, html);
      }
      if (node === place) place = place.nextElementSibling;
      else table.insertBefore(node, place ?? null);
    }
    // A replaced or moved row has lost the focus.
    const row = focused && document.activeElement !== focused && [...table.rows].find((one) => keyOf(one) === focusedKey);
    row?.querySelector(focused.matches("[name=ticket]") ? "[name=ticket]" : "a")?.focus({ preventScroll: true });
    dispatchEvent(new Event("okno:requests-drawn"));
  };

  const refresh = async () => {
    isDue = false;
    refreshedAt = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "Okno-Refresh": "1" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const rows = [...page.querySelectorAll("table.requests tbody tr")];
      if (okno.isPressed() || !rows.length) schedule();
      else draw(rows.map((row) => document.adoptNode(row)));
    } catch { /* no connection: the next change refreshes */ }
  };
  const schedule = () => {
    clearTimeout(timer);
    isDue = true;
    if (!document.hidden) timer = setTimeout(refresh, Math.max(0, refreshedAt + INTERVAL - performance.now()));
  };
  [...table.rows].forEach(start);
  addEventListener("okno:updates", ({ detail: { counters } }) => {
    if (!counters) return;
    if (isFirst) isFirst = false; // the page is current
    else schedule();
  });
  addEventListener("visibilitychange", () => { if (!document.hidden && isDue) schedule(); });
})();
