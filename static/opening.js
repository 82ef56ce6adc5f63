// Opening another chat: highlight, URL, head, thread and composer change together once the chat is loaded, or not at
// all. Meanwhile the old chat is inert, and a skeleton shows the new chat's name.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const PATIENCE = 30_000; // milliseconds
  const SHOWN_FOR = 12_000; // milliseconds: how long an error about another chat is shown
  const byId = (id) => document.getElementById(id);
  const list = () => byId("list");
  let attempt = null; // the current opening: {chat, abort, hadFocus}
  let address = location.pathname + location.search; // URL of the displayed chat
  let place = history.state?.okno ?? 0; // its number in this tab's history
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

  // --- while it loads -----------------------------------------------------------------------------------------
  const setInert = (is) => {
    byId("chat").inert = is;
    if (byId("composer")) byId("composer").inert = is;
    desk.classList.toggle("is-opening", is);
  };
  const showSkeleton = (name) => {
    byId("opening")?.remove();
    const skeleton = byId("opening-chat").content.firstElementChild.cloneNode(true);
    skeleton.querySelector("h2").textContent = name;
    byId("chat").after(skeleton);
    desk.classList.add("has-chat");
  };
  const end = () => {
    attempt = null;
    byId("opening")?.remove();
    setInert(false);
    desk.classList.toggle("has-chat", Boolean(byId("chat").dataset.chat));
    highlight();
  };
  const giveUp = ({ hadFocus, abort }) => {
    abort.abort();
    end();
    if (hadFocus) byId("text")?.focus({ preventScroll: true });
    // After Back or Forward the browser already shows the URL of the chat that failed to load.
    const number = history.state?.okno ?? place;
    if (location.pathname + location.search === address || number === place) return;
    isGoingBack = true;
    history.go(place - number);
  };
  const say = (what, name) => {
    const note = byId("not-opened");
    note.querySelector("span").textContent = note.dataset[what].replace("{name}", name);
    note.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => { note.hidden = true; }, SHOWN_FOR);
  };

  // --- opening --------------------------------------------------------------------------------------------------
  const fetchChat = async (href, signal) => {
    const answer = await fetch(href, { signal, headers: { "HX-Request": "true", "HX-Target": "chat" } });
    if (answer.redirected) throw Object.assign(new Error("signed out"), { isSignedOut: true });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const chat = page.getElementById("chat");
    if (!chat) throw new Error("no chat");
    return { chat: document.adoptNode(chat), title: page.title };
  };

  // A later call cancels an earlier one.
  const open = async (href, { chat = "", name = "", pushes = true }) => {
    attempt?.abort.abort();
    const hadFocus = attempt ? attempt.hadFocus : document.activeElement === byId("text");
    const mine = { chat, hadFocus, abort: new AbortController() };
    attempt = mine;
    byId("not-opened").hidden = true;
    okno.composer.leave();
    setInert(true);
    showSkeleton(name);
    highlight();
    const patience = setTimeout(() => mine.abort.abort(), PATIENCE);
    try {
      const found = await fetchChat(href, mine.abort.signal);
      if (attempt !== mine) return;
      if (found.chat.dataset.user !== okno.user) { // another user: the poll locks this page
        giveUp(mine);
        dispatchEvent(new Event("okno:ask"));
      } else show(found, href, pushes);
    } catch (problem) {
      if (attempt !== mine) return;
      giveUp(mine);
      if (problem.isSignedOut) dispatchEvent(new Event("okno:signed-out"));
      else say(name ? "named" : "plain", name);
    } finally {
      clearTimeout(patience);
    }
  };

  const show = ({ chat, title }, href, pushes) => {
    const wanted = document.activeElement; // the operator may be typing a search
    const mayFocus = !wanted || wanted === document.body || wanted.matches(".row") || byId("chat").contains(wanted);
    place = history.state?.okno ?? place;
    if (pushes) {
      place += 1;
      history.pushState({ okno: place }, "", href);
    }
    address = location.pathname + location.search;
    byId("chat").replaceWith(chat);
    window.htmx?.process(chat);
    if (title) document.title = title;
    end();
    okno.opened({ mayFocus });
  };

  const isPlain = (event) => !event.button && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("a.row[data-chat]");
    if (event.target.closest?.("[data-stop-opening]") && attempt) giveUp(attempt);
    if (!row || !isPlain(event)) return;
    event.preventDefault();
    const { chat } = row.dataset;
    const isShown = chat === byId("chat").dataset.chat, isOld = byId("messages") && "old" in byId("messages").dataset;
    if (isShown && !isOld) {
      if (attempt) giveUp(attempt);
      byId("text")?.focus();
    } else open(row.href, { chat, name: row.querySelector("b").textContent, pushes: !isShown });
  });

  // --- back and forward ---------------------------------------------------------------------------------------------
  // The browser has already changed the URL; restore it if the chat fails to load.
  addEventListener("popstate", (event) => {
    if (isGoingBack) { isGoingBack = false; return; }
    const to = location.pathname + location.search;
    if (to === address) { // a place within the page, or one came back before anything was shown
      if (event.state?.okno === undefined) history.replaceState({ okno: place + 1 }, "");
      place = history.state.okno;
      if (attempt) giveUp(attempt);
      return;
    }
    const chat = to.match(/^\/chats\/(\d+)\//)?.[1] ?? "";
    const row = document.querySelector(`.row[data-chat="${chat}"] b`);
    open(to, { chat, name: row?.textContent ?? "", pushes: false });
  });
  if (history.state?.okno === undefined) history.replaceState({ ...history.state, okno: place }, "");

  document.addEventListener("htmx:afterSwap", highlight);
  addEventListener("okno:listed", highlight);
  highlight();
  window.okno = Object.assign(window.okno || {}, { opening: { say } });
})();
