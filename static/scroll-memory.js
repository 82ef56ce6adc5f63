// Scroll positions of a page and its loaded older rows, kept in the browser's history: after Back, Forward or a reload the
// page looks as it was left. Pages with personal data are not cached, neither on disk nor by Back.
(() => {
  const MAX_PAGES = 10;
  const PAUSE = 200; // milliseconds after the last scrolling
  const byId = (id) => document.getElementById(id);
  const isDesk = () => Boolean(byId("desk"));
  const count = (selector) => document.querySelectorAll(selector).length;
  const ROWS = "#rows > [data-key^='chat-']", MESSAGES = "#messages > .msg";

  const store = () => {
    const kept = { main: byId("main")?.scrollTop || 0 };
    if (isDesk()) {
      kept.rows = { count: count(ROWS), top: byId("rows").scrollTop };
      const scroll = byId("scroll");
      if (scroll) kept.thread = { chat: byId("chat").dataset.chat, count: count(MESSAGES), below: scroll.scrollHeight - scroll.scrollTop };
    }
    history.replaceState({ ...history.state, kept }, "");
  };
  // Load pages until as many items are shown as before.
  const load = async (selector, wanted, loadPage) => {
    for (let page = 0, shown = -1; page < MAX_PAGES && count(selector) < wanted && count(selector) > shown; page += 1) {
      shown = count(selector);
      await loadPage();
    }
  };
  const restoreRows = async ({ count: wanted, top }) => {
    const list = byId("list");
    if (!top) return;
    await load(ROWS, wanted, () => okno.loadOlderChats());
    if (list === byId("list") && !byId("rows").scrollTop) byId("rows").scrollTop = top;
  };
  const restoreThread = async ({ chat, count: wanted, below }) => {
    const scroll = byId("scroll"), end = scroll && scroll.scrollHeight - scroll.clientHeight;
    if (!scroll || byId("chat").dataset.chat !== chat || byId("messages").dataset.at || "notNewest" in byId("messages").dataset) return;
    if (below < scroll.clientHeight + 100) return; // at the end
    scroll.scrollTop = end - 100; // no longer follows the end
    await load(MESSAGES, wanted, () => okno.threadScroll.loadEarlier());
    if (scroll === byId("scroll")) scroll.scrollTop = scroll.scrollHeight - below;
  };

  const kept = history.state?.kept;
  const isAgain = ["back_forward", "reload"].includes(performance.getEntriesByType("navigation")[0]?.type);
  addEventListener("load", () => {
    if (!kept || !isAgain) return;
    if (byId("main") && !byId("main").scrollTop) byId("main").scrollTop = kept.main;
    if (kept.rows && isDesk()) restoreRows(kept.rows);
    if (kept.thread && isDesk()) restoreThread(kept.thread);
  });
  // Chromium ignores changes of the history while a page is being left, so they are made while it is scrolled.
  let timer;
  const schedule = () => { clearTimeout(timer); timer = setTimeout(store, PAUSE); };
  document.addEventListener("scroll", schedule, { capture: true, passive: true });
  addEventListener("okno:chat-opened", schedule);
})();
