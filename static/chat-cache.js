// Chats that open at once. Visited chats are kept as they were, with scroll position and loaded messages; likely next chats
// are fetched ahead. In memory only, and thrown away when the user signs out or another one signs in.
(() => {
  if (!document.getElementById("desk")) return;
  const MAX_KEPT = 8, MAX_FETCHED = 12, MAX_IN_FLIGHT = 2;
  const KEPT_TIME = 10 * 60e3, FETCHED_TIME = 45e3; // milliseconds: older ones are not shown
  const HOVER_TIME = 90; // milliseconds: the pointer rests on a row
  const MAX_PER_MINUTE = 30; // requests ahead
  const byId = (id) => document.getElementById(id);
  const kept = new Map(); // address → {chat: element, title, at}
  const fetched = new Map(); // address → {html, at}, or {promise}
  let times = [], inFlight = 0, timer;

  const clear = () => { kept.clear(); fetched.clear(); };
  const limit = (map, size) => { while (map.size > size) map.delete(map.keys().next().value); };
  const forgetChat = (chat) => {
    for (const map of [kept, fetched]) for (const address of [...map.keys()]) if (address.startsWith(`/chats/${chat}/`)) map.delete(address);
  };

  // --- chats that were shown ----------------------------------------------------------------------------------------
  const keep = (chat, address, title) => {
    if (!chat.dataset.chat || "notNewest" in (chat.querySelector("#messages")?.dataset ?? {})) return;
    forgetChat(chat.dataset.chat);
    kept.set(address, { chat, title, at: Date.now() });
    limit(kept, MAX_KEPT);
  };
  // Return {chat, title} to show at once, or null. An empty version makes the next poll bring everything.
  const take = (address) => {
    const found = kept.get(address);
    kept.delete(address);
    if (!found || Date.now() - found.at > KEPT_TIME || found.chat.dataset.user !== okno.user) return null;
    found.chat.dataset.version = "";
    // The poll reports later messages, but not that the chat was marked as unread.
    const row = document.querySelector(`a.row[data-chat="${CSS.escape(found.chat.dataset.chat)}"]`);
    found.chat.dataset.unread = row?.matches(":not(.unread)") ? "0" : "1";
    delete found.chat.dataset.new;
    return found;
  };

  // --- chats that may be opened next ----------------------------------------------------------------------------------
  // Only on fast connections, and never for chats of others: a look at them goes on record, so the server refuses.
  const mayFetch = () => {
    const { saveData, effectiveType = "4g" } = navigator.connection || {};
    const now = Date.now();
    times = times.filter((at) => now - at < 60e3);
    return !document.hidden && navigator.onLine && !saveData && effectiveType === "4g" && inFlight < MAX_IN_FLIGHT && times.length < MAX_PER_MINUTE && !okno.isLocked();
  };
  const isFresh = (found) => Boolean(found) && (found.promise || Date.now() - found.at < FETCHED_TIME);
  const fetchAhead = (row) => {
    const address = row && row.pathname + row.search;
    if (!address || row.dataset.chat === byId("chat").dataset.chat || kept.has(address) || isFresh(fetched.get(address)) || !mayFetch()) return;
    inFlight += 1;
    times.push(Date.now());
    const headers = { "HX-Request": "true", "HX-Target": "chat", "Okno-Prefetch": "1" };
    const promise = fetch(address, { headers, priority: "low" })
      .then(async (answer) => (answer.status === 200 && !answer.redirected ? answer.text() : null))
      .catch(() => null)
      .then((html) => {
        inFlight -= 1;
        if (fetched.get(address)?.promise !== promise) return null; // cleared meanwhile
        fetched.set(address, { html, at: Date.now() }); // null: do not ask again soon
        return html;
      });
    fetched.delete(address);
    fetched.set(address, { promise });
    limit(fetched, MAX_FETCHED);
  };
  // Return the HTML that was fetched ahead, or null. Each is shown once, because a draft may be written in it.
  const takeFetched = async (address) => {
    const found = fetched.get(address);
    const html = found?.promise ? await found.promise : isFresh(found) ? found.html : null;
    fetched.delete(address);
    return html;
  };

  const rowOf = (event) => event.target.closest?.("a.row[data-chat]");
  document.addEventListener("pointerover", (event) => {
    const row = rowOf(event);
    clearTimeout(timer);
    if (row && event.pointerType === "mouse") timer = setTimeout(() => fetchAhead(row), HOVER_TIME);
  });
  document.addEventListener("pointerdown", (event) => { if (!event.button) fetchAhead(rowOf(event)); });
  document.addEventListener("focusin", (event) => {
    clearTimeout(timer);
    const row = rowOf(event);
    if (row) timer = setTimeout(() => fetchAhead(row), HOVER_TIME);
  });
  // After a chat was opened: the first unread chat, and the row below.
  const fetchLikely = () => {
    const rows = [...document.querySelectorAll("a.row[data-chat]")], { chat } = byId("chat").dataset;
    const next = rows[rows.findIndex((row) => row.dataset.chat === chat) + 1];
    for (const row of new Set([rows.find((one) => one.matches(".unread") && one.dataset.chat !== chat), next])) if (row) fetchAhead(row);
  };
  let idle;
  addEventListener("okno:chat-opened", () => {
    clearTimeout(idle);
    idle = setTimeout(fetchLikely, 1200);
  });

  // A changed row means that its page is out of date. Kept chats are refreshed by the poll when they are shown.
  const versions = new Map();
  addEventListener("okno:list-drawn", () => {
    for (const row of document.querySelectorAll("a.row[data-chat]")) {
      const { version } = row.parentElement.dataset, { chat } = row.dataset;
      if (versions.has(chat) && versions.get(chat) !== version) fetched.delete(row.pathname + row.search);
      versions.set(chat, version);
    }
  });
  for (const name of ["okno:locked", "okno:signed-out"]) addEventListener(name, clear);
  window.okno = Object.assign(window.okno || {}, { chatCache: { keep, take, takeFetched, forgetChat, clear } });
})();
