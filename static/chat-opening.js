// Open another chat. Highlight, URL, header, thread and composer change together: at once if the chat is in the cache, else
// when it is loaded. Until then the old chat is inert, and a skeleton shows the new chat's name.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const TIMEOUT = 30_000; // milliseconds
  const ERROR_TIME = 12_000; // milliseconds: how long an error about another chat is shown
  const byId = (id) => document.getElementById(id);
  let attempt = null; // the current opening: {chat, abort, hadFocus}
  let address = location.pathname + location.search; // URL of the displayed chat
  let position = history.state?.okno ?? 0; // its number in this tab's history
  let isGoingBack = false, timer;

  // Highlight the displayed chat, even if the server rendered the list with another one.
  const highlight = () => {
    const shown = byId("chat").dataset.chat;
    for (const row of document.querySelectorAll(".row[data-chat]")) {
      if (row.dataset.chat === shown) row.setAttribute("aria-current", "page");
      else row.removeAttribute("aria-current");
      row.classList.toggle("opening", row.dataset.chat === attempt?.chat);
    }
  };

  // --- while a chat loads -----------------------------------------------------------------------------------------
  const setInert = (isInert) => {
    byId("chat").inert = isInert;
    if (byId("composer")) byId("composer").inert = isInert;
    desk.classList.toggle("is-opening", isInert);
  };
  const showSkeleton = (name) => {
    byId("opening")?.remove();
    const skeleton = byId("opening-chat").content.firstElementChild.cloneNode(true);
    skeleton.querySelector("h2").textContent = name;
    byId("chat").after(skeleton);
    desk.classList.add("has-chat");
  };
  const finish = () => {
    attempt = null;
    byId("opening")?.remove();
    setInert(false);
    desk.classList.toggle("has-chat", Boolean(byId("chat").dataset.chat));
    highlight();
  };
  const cancelOpening = ({ hadFocus, abort }) => {
    abort.abort();
    finish();
    if (hadFocus) byId("text")?.focus({ preventScroll: true });
    // After Back or Forward the browser already shows the URL of the chat that failed to load.
    const number = history.state?.okno ?? position;
    if (location.pathname + location.search === address || number === position) return;
    isGoingBack = true;
    history.go(position - number);
  };
  const nameInList = (chat) => document.querySelector(`.row[data-chat="${CSS.escape(chat)}"] b`)?.textContent ?? "";
  const clientName = (chat) => nameInList(chat) || `№ ${chat}`;
  const showError = (kind, name) => {
    const note = byId("not-opened");
    note.querySelector("span").textContent = note.dataset[kind].replace("{name}", name);
    note.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => { note.hidden = true; }, ERROR_TIME);
  };

  // --- opening --------------------------------------------------------------------------------------------------
  const fetchChat = async (href, signal) => {
    const aborted = new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
    const ahead = await Promise.race([okno.chatCache.takeFetched(href), aborted]);
    if (ahead) return parseChat(ahead);
    const answer = await fetch(href, { signal, headers: { "HX-Request": "true", "HX-Target": "chat" } });
    if (answer.redirected) throw Object.assign(new Error("signed out"), { isSignedOut: true });
    if (!answer.ok) throw new Error(String(answer.status));
    return parseChat(await answer.text());
  };
  const parseChat = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const chat = page.getElementById("chat");
    if (!chat) throw new Error("no chat");
    return { chat: document.adoptNode(chat), title: page.title };
  };
  const emptyPane = () => ({ chat: byId("no-chat-pane").content.firstElementChild.cloneNode(true), title: desk.dataset.title });

  // A later call cancels an earlier one.
  const open = async (href, { chat = "", name = "", pushes = true }) => {
    attempt?.abort.abort();
    const hadFocus = attempt ? attempt.hadFocus : document.activeElement === byId("text");
    const current = { chat, hadFocus, abort: new AbortController() };
    attempt = current;
    byId("not-opened").hidden = true;
    okno.composer.saveBeforeLeaving();
    const ready = chat ? okno.chatCache.take(href) : emptyPane();
    if (ready) { show(ready, href, pushes); return; }
    setInert(true);
    showSkeleton(name);
    highlight();
    const timeout = setTimeout(() => current.abort.abort(), TIMEOUT);
    try {
      const page = await fetchChat(href, current.abort.signal);
      if (attempt !== current) return;
      if (page.chat.dataset.user !== okno.user) { // another user: the poll locks this page
        cancelOpening(current);
        dispatchEvent(new Event("okno:poll"));
      } else show(page, href, pushes);
    } catch (problem) {
      if (attempt !== current) return;
      cancelOpening(current);
      if (problem.isSignedOut) dispatchEvent(new Event("okno:signed-out"));
      else showError(name ? "failedNamed" : "failed", name);
    } finally {
      clearTimeout(timeout);
    }
  };

  const show = ({ chat, title }, href, pushes) => {
    const focused = document.activeElement; // the operator may be typing a search
    const mayFocus = !focused || focused === document.body || focused.matches(".row") || byId("chat").contains(focused);
    position = history.state?.okno ?? position;
    if (pushes) {
      position += 1;
      history.pushState({ okno: position, isFromList: !byId("chat").dataset.chat }, "", href);
    }
    okno.threadScroll.remember();
    if (byId("chat").dataset.chat === chat.dataset.chat) okno.chatCache.forgetChat(chat.dataset.chat);
    else okno.chatCache.keep(byId("chat"), address, document.title);
    address = location.pathname + location.search;
    byId("chat").inert = false;
    if (byId("composer")) byId("composer").inert = false;
    byId("chat").replaceWith(chat);
    window.htmx?.process(chat);
    if (title) document.title = title;
    finish();
    okno.startChat({ mayFocus });
  };

  const isPlainClick = (event) => !event.button && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("a.row[data-chat]");
    if (event.target.closest?.("[data-stop-opening]") && attempt) cancelOpening(attempt);
    if (!row || !isPlainClick(event)) return;
    event.preventDefault();
    const { chat } = row.dataset;
    const isShown = chat === byId("chat").dataset.chat, isOld = byId("messages") && "notNewest" in byId("messages").dataset;
    if (isShown && !isOld) {
      if (attempt) cancelOpening(attempt);
      byId("text")?.focus();
    } else open(row.pathname + row.search, { chat, name: row.querySelector("b").textContent, pushes: !isShown });
  });
  // Links to another place of a chat, and back to the list.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#chat a[href]");
    if (!link || event.defaultPrevented || !isPlainClick(event) || link.target || link.hash || link.origin !== location.origin) return;
    const to = link.pathname.match(/^\/chats\/(?:(\d+)\/)?$/);
    if (!to) return;
    event.preventDefault();
    if (!to[1] && history.state?.isFromList) history.back();
    else open(link.pathname + link.search, { chat: to[1] ?? "", name: to[1] === byId("chat").dataset.chat ? byId("chat_header").querySelector("h2").textContent : "" });
  });

  // --- back and forward ---------------------------------------------------------------------------------------------
  // The browser has already changed the URL; restore it if the chat fails to load.
  addEventListener("popstate", (event) => {
    if (isGoingBack) { isGoingBack = false; return; }
    const to = location.pathname + location.search;
    if (to === address) { // an anchor within the page, or the user returned before the chat was shown
      if (event.state?.okno === undefined) history.replaceState({ okno: position + 1 }, "");
      position = history.state.okno;
      if (attempt) cancelOpening(attempt);
      return;
    }
    const chat = to.match(/^\/chats\/(\d+)\//)?.[1] ?? "";
    open(to, { chat, name: nameInList(chat), pushes: false });
  });
  if (history.state?.okno === undefined) history.replaceState({ ...history.state, okno: position }, "");

  document.addEventListener("htmx:afterSwap", highlight);
  addEventListener("okno:list-drawn", highlight);
  highlight();
  // Show what the operator has just added: an earlier page of the thread has no place for it.
  const showNewest = () => {
    const { chat } = byId("chat").dataset;
    if (chat && "notNewest" in (byId("messages")?.dataset ?? {})) open(`/chats/${chat}/`, { chat, name: clientName(chat) });
    else dispatchEvent(new Event("okno:poll"));
  };

  window.okno = Object.assign(window.okno || {}, { chatOpening: { open, showError, clientName, showNewest } });
})();
