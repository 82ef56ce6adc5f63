// Commands of the catalog: pages, moving in the list, and actions of the open chat through the controls on the page.
(() => {
  const body = document.getElementById("palette");
  if (!body || !window.okno?.shortcuts) return;
  const { define } = okno.shortcuts;
  const byId = (id) => document.getElementById(id);
  const CLOSED = "3";
  const NEXT_TIMEOUT = 20_000; // milliseconds
  const isShown = (element) => Boolean(element && element.getClientRects().length);
  const hasChat = () => Boolean(byId("chat")?.dataset.chat) && !byId("chat").inert;

  // --- pages --------------------------------------------------------------------------------------------------------
  for (const [name, address] of Object.entries(JSON.parse(body.dataset.pages))) {
    if (address) define(name, () => location.assign(address));
  }

  // --- list ---------------------------------------------------------------------------------------------------------
  const rows = () => [...document.querySelectorAll("#rows a.row[data-chat]")];
  const step = (by) => {
    const all = rows();
    const focused = all.indexOf(document.activeElement.closest?.("a.row"));
    const at = focused >= 0 ? focused : all.findIndex((row) => row.hasAttribute("aria-current"));
    const next = all[Math.max(0, Math.min(all.length - 1, at + by))];
    if (!next) return;
    next.scrollIntoView({ block: "nearest" });
    next.focus({ preventScroll: true });
  };
  define("next-row", () => step(1), () => rows().length > 0);
  define("previous-row", () => step(-1), () => rows().length > 0);
  define("search", () => {
    const field = byId("search-chats") || document.querySelector("[type=search]");
    field.focus();
    field.select();
  }, () => Boolean(byId("search-chats") || document.querySelector("[type=search]")));
  define("filters", () => {
    byId("list-filters").open = true;
    byId("list-filters").querySelector("select")?.focus();
  }, () => Boolean(byId("list-filters")));

  // A sentence about a key just pressed goes by itself, unless it is being read or used.
  const say = (key, sentence) => {
    okno.notifications?.showSentence(key, sentence);
    const box = byId(`toast-${key}`);
    const leave = () => { if (box?.matches(":hover, :focus-within")) setTimeout(leave, 2_000); else box?.remove(); };
    setTimeout(leave, 8_000);
  };
  const openNextWaiting = async () => {
    const params = new URLSearchParams({ current: byId("chat")?.dataset.chat || "" });
    let found;
    try {
      const answer = await fetch(`${body.dataset.nextUrl}?${params}`, { signal: AbortSignal.timeout(NEXT_TIMEOUT) });
      if (answer.redirected) { dispatchEvent(new Event("okno:signed-out")); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      found = await answer.json();
    } catch {
      say("next-waiting", body.dataset.failed);
      return;
    }
    const { chat, note } = found;
    if (chat) okno.palette.openChat(chat);
    byId("toast-next-waiting")?.remove();
    if (note || !chat) say("next-waiting", note || body.dataset.noneWaiting);
  };
  define("next-waiting", openNextWaiting);

  // --- open chat ----------------------------------------------------------------------------------------------------
  const control = (selector) => hasChat() ? byId("chat").querySelector(selector) : null;
  const statusButton = () => control(`.head-actions button[name="status"][value="${CLOSED}"]`);
  const mineButton = () => control(`.head-actions button[name="user"][value="${byId("chat")?.dataset.user}"]:not([aria-current])`);
  define("reply", () => {
    if (!isShown(byId("text"))) control("[data-compose=reply]").click();
    byId("text").focus();
  }, () => isShown(byId("text")) || isShown(control("[data-compose=reply]")));
  define("note", () => control("[data-compose=note]").click(), () => isShown(control("[data-compose=note]")));
  define("assign-me", () => mineButton().click(), () => Boolean(mineButton()));
  define("assign", () => {
    const menu = byId("who-answers").closest("details");
    menu.open = true;
    menu.querySelector(".menu-search, .menu-panel button")?.focus();
  }, () => hasChat() && Boolean(byId("who-answers")));
  define("close", () => statusButton().click(), () => Boolean(statusButton()));
  define("close-next", () => {
    const form = statusButton().form;
    const done = (event) => {
      if (event.detail.elt !== form && event.detail.elt.form !== form) return;
      document.removeEventListener("htmx:afterRequest", done);
      if (event.detail.successful) openNextWaiting();
    };
    document.addEventListener("htmx:afterRequest", done);
    statusButton().click();
  }, () => Boolean(statusButton()));
  const pickFrom = (selector) => {
    okno.compose?.setMode("reply", { focuses: false });
    control(selector).click();
  };
  define("template", () => pickFrom("#composer .pick-template"), () => Boolean(control("#composer .pick-template")));
  define("quick-reply", () => pickFrom("[data-canned-responses]"), () => Boolean(control("[data-canned-responses]")));
  // Escape leaves the text for the messages, where single keys work. It first closes a menu or removes a quote.
  define("leave-text", () => byId("scroll").focus({ preventScroll: true }), (event) =>
    event?.target.matches?.("#text, #note-text") && byId("replying")?.hidden !== false && !document.querySelector("details.menu[open]"));
  define("client", () => { location.hash = "client"; }, () => hasChat());
})();
