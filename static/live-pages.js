// The Contacts and Missed windows pages, live: asked for again after a change, at most every few seconds. Shown rows are
// replaced in place. New contacts are announced, and inserted only when the operator wants them.
(() => {
  const place = document.querySelector("[data-live]");
  if (!place || !window.okno?.pollParameters) return;
  const INTERVAL = { contacts: 15_000, report: 30_000 }[place.dataset.live]; // milliseconds between two requests
  const note = document.getElementById("new-contacts");
  let isFirst = true, isDue = false, refreshedAt = 0, timer;

  // Replace an element. What was open or had the focus stays so.
  const replace = (old, fresh) => {
    const focused = old.contains(document.activeElement) ? [...old.querySelectorAll("a, button, summary, input, [tabindex]")].indexOf(document.activeElement) : -1;
    const open = [...old.querySelectorAll("details")].map((one) => one.open);
    fresh.querySelectorAll("details").forEach((one, index) => { one.open = open[index] ?? false; });
    old.replaceWith(fresh);
    if (focused >= 0) fresh.querySelectorAll("a, button, summary, input, [tabindex]")[focused]?.focus({ preventScroll: true });
  };

  // Forms have another CSRF token each time.
  const htmlOf = (node) => node.outerHTML.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
  const rowsOf = (root) => new Map([...root.querySelectorAll("tr[data-contact]")].map((row) => [row.dataset.contact, row]));
  const originals = new Map([...rowsOf(place)].map(([key, row]) => [key, htmlOf(row)]));

  const drawContacts = (fresh) => {
    const shown = rowsOf(place), rows = rowsOf(fresh);
    for (const [key, row] of rows) {
      const html = htmlOf(row);
      if (!shown.has(key) || originals.get(key) === html) continue;
      originals.set(key, html);
      replace(shown.get(key), row);
    }
    // Others move down and leave the page at its end. A row that is missing further up was erased, merged or filtered out.
    const keys = [...shown.keys()], last = keys.findLastIndex((key) => rows.has(key));
    for (const key of keys.slice(0, Math.max(last, 0))) if (!rows.has(key)) shown.get(key).remove();
    const isFirstPage = !new URLSearchParams(location.search).get("after");
    // On a sorted or filtered page, a row that was not shown may be an older contact.
    const isNew = (key) => !shown.has(key) && Number(key) > Number(place.dataset.newest);
    const added = isFirstPage ? [...rows.keys()].filter(isNew).length : 0;
    if (!note) return;
    if (note.hidden !== !added || note.querySelector("b").textContent !== String(added)) {
      note.querySelector("b").textContent = added;
      note.hidden = !added;
    }
  };
  note?.querySelector("button").addEventListener("click", () => location.reload());

  const refresh = async () => {
    isDue = false;
    refreshedAt = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "Okno-Refresh": "1" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (!fresh) return;
      if (okno.isPressed()) schedule();
      else if (place.dataset.live === "contacts") drawContacts(document.adoptNode(fresh));
      else if (htmlOf(current()) !== htmlOf(fresh)) replace(current(), document.adoptNode(fresh));
    } catch { /* no connection: the next change refreshes */ }
  };
  const current = () => document.querySelector("[data-live]");
  const schedule = () => {
    clearTimeout(timer);
    isDue = true;
    if (!document.hidden) timer = setTimeout(refresh, Math.max(0, refreshedAt + INTERVAL - performance.now()));
  };
  addEventListener("okno:updates", ({ detail: { counters } }) => {
    if (!counters) return;
    if (isFirst) isFirst = false; // the page is current
    else schedule();
  });
  addEventListener("visibilitychange", () => { if (!document.hidden && isDue) schedule(); });
})();
