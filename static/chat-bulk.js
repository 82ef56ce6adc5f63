// Actions on chats of the list, for its bar, the menu of a row, the chat's header and keys. Each says what it did, with an
// undo. Rows are redrawn at once; the next poll puts them into their place.
(() => {
  const bar = document.getElementById("chat-bulk");
  if (!bar) return;
  const TOAST_TIME = 60_000; // milliseconds
  const byId = (id) => document.getElementById(id);
  const rowOf = (chat) => document.querySelector(`#rows a.row[data-chat="${CSS.escape(chat)}"]`);
  const newKey = () => crypto.randomUUID?.() || String(Math.random()).slice(2);
  let isBusy = false, timer;
  let stopped = null; // an action whose later part failed: {words, rest, done, earlier, undoToken}
  // Key of a run of a macro, and the macro and chats of a run that failed: a repeat applies nothing twice.
  let macroKey = newKey(), macroChats = new Set();

  // --- rows ---------------------------------------------------------------------------------------------------------
  // Where the focus is in a row, so that its new version gets it.
  const PARTS = ["a.row", ".row-more", ".pick input"];
  const replaceRow = (fresh) => {
    const old = byId("rows").querySelector(`:scope > [data-key="${CSS.escape(fresh.dataset.key)}"]`);
    if (!old || old.dataset.version === fresh.dataset.version) return;
    const part = PARTS.find((selector) => old.querySelector(selector)?.contains(document.activeElement));
    if ("olderPage" in old.dataset) fresh.dataset.olderPage = "";
    old.replaceWith(fresh);
    okno.chatRows.decorate();
    if (part) fresh.querySelector(part)?.focus({ preventScroll: true });
  };
  const drawRows = (html) => {
    okno.drawing.parseElements(html).forEach(replaceRow);
    dispatchEvent(new Event("okno:list-drawn"));
    okno.refreshList();
  };

  // --- toast ----------------------------------------------------------------------------------------------------------
  const hideToast = () => {
    clearTimeout(timer);
    byId("toast-bulk")?.remove();
  };
  const showToast = (sentence, undoToken = "") => {
    hideToast();
    const box = byId("toast").content.firstElementChild.cloneNode(true), text = box.querySelector("a");
    box.id = "toast-bulk";
    box.classList.add("info");
    text.removeAttribute("href");
    text.querySelector("b").textContent = sentence;
    if (undoToken) {
      const undo = document.createElement("button");
      undo.type = "button";
      undo.className = "button tiny";
      undo.dataset.undoToken = undoToken;
      undo.textContent = bar.dataset.undo;
      text.querySelector("span").replaceWith(undo);
    }
    byId("toasts").prepend(box);
    const leave = () => { if (box.matches(":hover, :focus-within")) timer = setTimeout(leave, 2_000); else hideToast(); };
    timer = setTimeout(leave, TOAST_TIME);
  };

  // --- requests -------------------------------------------------------------------------------------------------------
  // Post once. Return the answer, or null after saying why there is none. `sofar`: what the parts before have done.
  const send = async (url, values, { undoToken = "", done = 0, total = 0 } = {}) => {
    const fail = (sentence) => {
      const words = done ? bar.dataset.stopped.replace("{done}", done).replace("{total}", total) : "";
      showToast(words ? `${words} ${sentence}` : sentence, undoToken);
      return null;
    };
    try {
      const answer = await okno.postAsUser(url + byId("list").dataset.query, values);
      if (answer.redirected) {
        dispatchEvent(new Event("okno:signed-out"));
        return fail(done ? bar.dataset.signedOutLater : bar.dataset.signedOut);
      }
      if (answer.status !== 409 && !answer.ok && answer.status !== 422) throw new Error(String(answer.status));
      const result = await answer.json();
      if (okno.isLocked()) { hideToast(); return null; } // the page says that another user signed in
      if (!answer.ok) return fail(result.sentence);
      drawRows(result.rows);
      return result;
    } catch {
      return fail(bar.dataset.failed);
    }
  };
  // Slow actions are posted in parts, so that no request lasts long and the operator sees how far it is. Each answer
  // holds a token with all results until then: `earlier`.
  const PART = Number(bar.dataset.part), SLOW = ["assign", "close", "tag", "untag", "snooze", "wake", "macro"];
  const work = async (steps) => {
    if (isBusy || okno.isLocked()) return [];
    isBusy = true;
    bar.setAttribute("aria-busy", "true");
    try {
      return await steps();
    } finally {
      isBusy = false;
      bar.removeAttribute("aria-busy");
    }
  };
  const showProgress = (done, total) => {
    if (total <= PART) return;
    showToast(bar.dataset.progress.replace("{done}", done).replace("{total}", total));
    byId("toast-bulk").setAttribute("aria-hidden", "true"); // only the result is read out
  };
  // What a repeat of a stopped action starts from, so that the undo covers all of its parts.
  const resume = (words, rows) => {
    const found = stopped?.words === words && rows.every(([chat]) => stopped.rest.has(chat)) ? stopped : null;
    stopped = null;
    return found;
  };
  // `states`: chat → state of its row, which the server compares. Returns the chats of the answered parts.
  const run = (action, values, states) => work(async () => {
    const rows = [...states], size = SLOW.includes(action) ? PART : rows.length;
    const macroRun = rows.map(([chat]) => `${values.macro} ${chat}`);
    if (action === "macro" && !macroRun.every((one) => macroChats.has(one))) [macroKey, macroChats] = [newKey(), new Set(macroRun)];
    const words = JSON.stringify([action, values]), before = resume(words, rows), done = before?.done || 0;
    let result = before && { earlier: before.earlier, undo_token: before.undoToken };
    for (let start = 0; start < rows.length; start += size) {
      if (SLOW.includes(action)) showProgress(done + start, done + rows.length);
      const body = new URLSearchParams({ ...values, action, earlier: result?.earlier || "" });
      for (const [chat, state] of rows.slice(start, start + size)) body.append("chat", `${chat}:${state}`);
      if (action === "macro") body.set("macro_key", macroKey);
      const part = await send(bar.dataset.url, body, { undoToken: result?.undo_token, done: done + start, total: done + rows.length });
      if (!part) {
        const rest = new Set(rows.slice(start).map(([chat]) => chat));
        if (result) stopped = { words, rest, done: done + start, earlier: result.earlier, undoToken: result.undo_token };
        return rows.slice(0, start).map(([chat]) => chat);
      }
      result = part;
    }
    if (action === "macro") macroChats = new Set();
    if (result) showToast(result.sentence, result.undo_token);
    return rows.map(([chat]) => chat);
  });
  const runFor = (action, values, chat) => run(action, values, [[chat, rowOf(chat)?.dataset.state || ""]]);
  const undo = () => {
    const token = byId("toast-bulk")?.querySelector("[data-undo-token]")?.dataset.undoToken;
    if (!token) return;
    stopped = null;
    work(async () => {
      let result = { earlier: "", next: 0, total: 0 };
      do {
        const sofar = { undoToken: token, done: result.next, total: result.total };
        result = await send(bar.dataset.undoUrl, { undo_token: token, start: result.next, earlier: result.earlier }, sofar);
        if (!result) return false;
        if (result.next) showProgress(result.next, result.total);
      } while (result.next);
      showToast(result.sentence);
      return true;
    });
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-undo-token]")) undo();
  });

  // --- open chat --------------------------------------------------------------------------------------------------------
  const openChat = () => byId("chat")?.dataset.chat || "";
  const runInHeader = (button) => {
    for (const menu of document.querySelectorAll("#chat_header details.menu[open]")) menu.open = false;
    byId("request-more")?.focus({ preventScroll: true });
    runFor(button.value, {}, openChat());
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#chat_header button[data-chat-action]");
    if (!button) return;
    event.preventDefault(); // with scripts, the action is not submitted as a form
    event.stopPropagation();
    runInHeader(button);
  }, true);
  // The row says whether the open chat is pinned and unread; another tab may have changed it.
  const syncHeader = () => {
    const row = openChat() && rowOf(openChat());
    if (!row) return;
    const is = { pin: !okno.chatRows.traits(row).has("pinned"), unpin: okno.chatRows.traits(row).has("pinned"), unread: !row.matches(".unread") };
    for (const button of document.querySelectorAll("#chat_header button[data-chat-action]")) button.hidden = !is[button.value];
  };
  for (const name of ["okno:list-drawn", "okno:thread-drawn", "okno:chat-opened"]) addEventListener(name, syncHeader);
  // A click on the row of the open chat opens it again, so it is read.
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("a.row.unread[data-chat]");
    if (!row || row.dataset.chat !== openChat() || event.ctrlKey || event.metaKey || event.shiftKey) return;
    okno.postAsUser(byId("chat").dataset.seenUrl, { for_chat: openChat() })
      .then(okno.refreshList).catch(() => {});
  });

  // Single keys in an open menu must not act on the open or the selected chats.
  const keepKey = (event) => { if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) event.stopPropagation(); };
  const canUndo = (event) => Boolean(byId("toast-bulk")?.querySelector("[data-undo-token]")) && !event?.target.closest?.("input:not([type=checkbox]), textarea, select");
  okno.shortcuts?.define("undo", undo, canUndo);
  window.okno = Object.assign(window.okno || {}, { chatBulk: { run, runFor, rowOf, openChat, keepKey } });
})();
