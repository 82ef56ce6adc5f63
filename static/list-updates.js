// The chat list: redrawn from updates, older chats load near its end.
(() => {
  if (!document.getElementById("desk")) return;
  const byId = (id) => document.getElementById(id);
  let asked = null; // the list element that the running poll asks for; null if the answer is out of date
  let held = null; // the newest update of the list; it waits until the menu of a row closes

  okno.pollParameters.push(() => {
    asked = byId("list");
    return { ...Object.fromEntries(new URLSearchParams(asked.dataset.query)), list: asked.dataset.version };
  });
  addEventListener("okno:updates", ({ detail: { list } }) => {
    // A search may have been opened meanwhile: ignore answers about a replaced list.
    if (!list || okno.isPressed() || asked !== byId("list")) return;
    if (okno.chatRows?.isMenuOpen()) hold(asked, list);
    else drawList(asked, list);
  });
  // Rows must not move beneath the open menu of one of them. The polls go on from this version.
  const hold = (list, updates) => {
    held = { list, updates };
    list.dataset.version = updates.version;
  };
  addEventListener("okno:row-menu-closed", () => {
    if (okno.chatRows.isMenuOpen()) return; // that of another row
    const { list, updates } = held || {};
    held = null;
    if (list && list === byId("list") && list.dataset.version === updates.version) drawList(list, updates);
  });
  // Ask for the whole list after an action of this page. The running poll may have been answered before the action.
  const refreshList = () => {
    asked = null;
    byId("list").dataset.version = "";
    dispatchEvent(new Event("okno:poll"));
  };

  const drawList = (list, updates) => {
    list.dataset.version = updates.version;
    const rows = byId("rows");
    let fresh = okno.drawing.parseElements(updates.rows);
    // Older pages were loaded below: keep their "older" link.
    const later = rows.querySelector("[data-older-page]");
    if (later) {
      fresh = fresh.filter((node) => node.dataset.key !== "more");
      // Rows that left the first page now belong to the pages below.
      const keys = new Set(fresh.map((node) => node.dataset.key));
      for (let row = later.previousElementSibling; row && !keys.has(row.dataset.key); row = row.previousElementSibling) {
        row.dataset.olderPage = "";
      }
    }
    const before = rows.scrollTop;
    okno.drawing.patch(rows, fresh, { isAll: true });
    rows.scrollTop = before;
    dispatchEvent(new Event("okno:list-drawn"));
    okno.drawing.redraw("tabs", updates.tabs);
  };

  // Load older chats near the end of the list. The link serves keyboards and browsers without scripts.
  const nearEnd = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) if (isIntersecting) loadOlderChats(target);
  }, { rootMargin: "400px" });
  const watchEnd = () => {
    nearEnd.disconnect();
    const link = document.querySelector("[data-more]");
    if (link && byId("rows").scrollTop > 0 && !("hasFailed" in link.dataset)) nearEnd.observe(link);
  };
  document.addEventListener("scroll", (event) => {
    if (event.target.id === "rows") watchEnd();
  }, { capture: true, passive: true });

  const loadOlderChats = async (link = document.querySelector("[data-more]")) => {
    const fresh = (await okno.loadLinkedPage(link))?.getElementById("rows"), rows = byId("rows");
    if (!fresh || !link.isConnected) return;
    const shown = new Set([...rows.children].map((node) => node.dataset.key));
    link.closest("li").remove();
    for (const node of [...fresh.children]) {
      if (shown.has(node.dataset.key) && node.dataset.key !== "more") continue;
      node.dataset.olderPage = "";
      rows.append(node);
      window.htmx?.process(node);
    }
    watchEnd();
    dispatchEvent(new Event("okno:list-drawn"));
  };

  document.addEventListener("click", (event) => {
    const older = event.target.closest("[data-more]");
    if (older) { event.preventDefault(); loadOlderChats(older); }
  });
  // A removed filter takes the focus with it.
  document.addEventListener("htmx:afterSettle", () => {
    if (document.activeElement === document.body && hadFocus) byId("filters-button")?.focus({ preventScroll: true });
    hadFocus = false;
  });
  let hadFocus = false;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id === "list") hadFocus = event.detail.target.contains(document.activeElement);
  });
  // The arrow leads from the search to what it found.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || event.target.id !== "search-chats") return;
    event.preventDefault();
    byId("rows").querySelector("a.row")?.focus();
  });
  // Escape in an empty search returns to the open chat's row, or the first one.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.target.id !== "search-chats" || event.target.value) return;
    (byId("rows").querySelector("a.row[aria-current]") || byId("rows").querySelector("a.row"))?.focus();
  });
  window.okno = Object.assign(window.okno || {}, { refreshList, loadOlderChats: () => loadOlderChats() });
})();
