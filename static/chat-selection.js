// Selection of chats in the list, and its bar. The selection survives redraws of the list; another tab or filter clears
// it. Keys act on the selected chats while there are some.
(() => {
  const bar = document.getElementById("chat-bulk");
  if (!bar) return;
  const CHOICES_TIME = 60_000; // milliseconds: menus are fetched again after that
  const byId = (id) => document.getElementById(id);
  const selected = new Map(); // chat → state of its row when it was last shown
  let last = "", list = byId("list"), fetchedAt = -CHOICES_TIME, isFetching = null;

  const boxes = () => [...document.querySelectorAll("#rows .pick input")];
  const rowOf = (chat) => okno.chatBulk.rowOf(chat);

  // --- what is selected -------------------------------------------------------------------------------------------------
  const draw = () => {
    const all = boxes();
    for (const box of all) {
      const row = box.closest("li").querySelector("a.row");
      box.checked = selected.has(box.value);
      if (box.checked) selected.set(box.value, row.dataset.state);
      box.closest("li").classList.toggle("picked", box.checked);
    }
    const count = selected.size, shown = all.filter((box) => box.checked).length;
    byId("rows").classList.toggle("picking", count > 0);
    bar.querySelector("[data-count]").textContent = count || "";
    bar.querySelector("[data-not-shown]").textContent = count > shown ? bar.dataset.hidden.replace("{number}", count - shown) : "";
    const every = bar.querySelector("[data-pick-all]");
    every.checked = shown > 0 && shown === all.length;
    every.indeterminate = count > 0 && !every.checked;
    if (!count && bar.contains(document.activeElement)) (rowOf(last) || document.querySelector("#rows a.row"))?.focus({ preventScroll: true });
    if (!count) for (const menu of bar.querySelectorAll("details[open]")) menu.open = false;
    bar.hidden = !count;
    if (count) fetchChoices();
  };
  const toggle = (chat, isOn = !selected.has(chat)) => {
    last = chat;
    if (isOn) selected.set(chat, rowOf(chat)?.dataset.state || "");
    else selected.delete(chat);
    draw();
  };
  const clear = () => { selected.clear(); draw(); };
  const toggleTo = (chat) => {
    const ids = boxes().map((box) => box.value), isOn = !selected.has(chat);
    const [from, to] = [ids.indexOf(last), ids.indexOf(chat)].sort((a, b) => a - b);
    if (from >= 0) for (const id of ids.slice(from, to + 1)) {
      if (isOn) selected.set(id, rowOf(id).dataset.state);
      else selected.delete(id);
    }
    toggle(chat, isOn);
  };

  document.addEventListener("click", (event) => {
    const pick = event.target.closest?.("#rows .pick");
    if (!pick) return;
    event.preventDefault(); // `draw` sets the box
    const { value } = pick.querySelector("input");
    if (event.shiftKey && last && last !== value) toggleTo(value);
    else toggle(value);
    setTimeout(draw); // the browser restores the box after a prevented click
  });
  // On touch screens, a tap on a row selects while there is a selection.
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("#rows a.row[data-chat]");
    if (!row || !selected.size || !matchMedia("(hover: none)").matches) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    toggle(row.dataset.chat);
  }, true);
  bar.querySelector("[data-pick-all]").addEventListener("change", (event) => {
    if (event.target.checked) for (const box of boxes()) selected.set(box.value, "");
    else selected.clear();
    draw();
  });
  bar.querySelector("[data-clear-selection]").addEventListener("click", clear);

  // --- actions of the bar -----------------------------------------------------------------------------------------------
  const run = async (action, values = {}) => {
    for (const chat of await okno.chatBulk.run(action, values, selected)) selected.delete(chat);
    draw();
  };
  const valuesOf = (button) => {
    const fields = button.closest("form") ? new FormData(button.closest("form")) : new Map();
    return { ...Object.fromEntries(fields), ...(button.name ? { [button.name]: button.value } : {}) };
  };
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("[data-bulk]");
    if (!button) return;
    event.preventDefault();
    const values = valuesOf(button), menu = button.closest("details");
    if (menu?.contains(document.activeElement)) menu.querySelector("summary").focus({ preventScroll: true });
    if (menu) menu.open = false;
    run(button.dataset.bulk, values);
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("keydown", (event) => {
    const panel = event.target.closest(".menu-panel");
    if (event.target.closest("details[open]")) okno.chatBulk.keepKey(event);
    if (event.key === "Enter" && event.target.matches("[data-filters-menu]")) {
      event.preventDefault();
      if (event.target.value.trim()) panel.querySelector("button[name]:not([hidden]):not([value=''])")?.click();
      return;
    }
    if (!panel || !["ArrowDown", "ArrowUp"].includes(event.key) || event.target.matches("[type=datetime-local]")) return;
    const items = [...panel.querySelectorAll("button, input")].filter((item) => item.getClientRects().length);
    const at = items.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    event.preventDefault();
    items[(at + items.length) % items.length].focus();
  });

  // --- menus: people, snooze times, tags and macros ---------------------------------------------------------------------
  const fetchChoices = () => {
    if (performance.now() - fetchedAt < CHOICES_TIME) return isFetching;
    fetchedAt = performance.now();
    isFetching = (async () => {
      try {
        const answer = await fetch(bar.dataset.choicesUrl, { headers: { "HX-Request": "true" } });
        if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
        for (const part of okno.drawing.parseElements(await answer.text())) {
          const panel = bar.querySelector(`[data-bulk-panel="${part.dataset.for}"]`);
          if (!panel.contains(document.activeElement)) panel.replaceChildren(...part.childNodes);
        }
      } catch {
        fetchedAt = -CHOICES_TIME;
        for (const panel of bar.querySelectorAll("[data-bulk-panel]:empty")) panel.append(byId("no-choices").content.cloneNode(true));
      }
    })();
    return isFetching;
  };
  bar.addEventListener("toggle", async (event) => {
    if (!event.target.matches("details[open]")) return;
    for (const other of bar.querySelectorAll("details[open]")) if (other !== event.target) other.open = false;
    await fetchChoices();
    if (event.target.open) event.target.querySelector(".menu-panel input, .menu-panel button")?.focus({ preventScroll: true });
  }, true);

  // --- the list is redrawn or replaced ----------------------------------------------------------------------------------
  const refresh = () => {
    if (list !== byId("list")) {
      const isSame = list.dataset.query === byId("list").dataset.query;
      list = byId("list");
      if (!isSame) selected.clear();
    }
    draw();
  };
  addEventListener("okno:list-drawn", refresh);
  document.addEventListener("htmx:afterSwap", refresh);

  // --- keys: the focused row, the selected chats, or the open chat --------------------------------------------------------
  const focusedChat = () => document.activeElement.closest?.("#rows > li")?.querySelector("a.row")?.dataset.chat;
  const isFree = (event) => !event?.target.closest?.("input:not([type=checkbox]), textarea, select") && byId("row-menu").hidden;
  const hasSelection = (event) => selected.size > 0 && isFree(event);
  const target = () => focusedChat() || okno.chatBulk.openChat();
  const openMenu = (name) => {
    const menu = bar.querySelector(`[data-bulk-menu="${name}"]`);
    menu.open = true;
    menu.querySelector("summary").focus();
  };
  const { define } = okno.shortcuts || { define: () => {} };
  define("select-row", () => toggle(focusedChat()), (event) => Boolean(focusedChat()) && isFree(event));
  define("bulk-assign-me", () => run("assign", { assignee: okno.user }), hasSelection);
  define("bulk-assign", () => openMenu("assign"), hasSelection);
  define("bulk-close", () => run("close"), hasSelection);
  define("bulk-snooze", () => openMenu("snooze"), hasSelection);
  define("bulk-tag", () => openMenu("tag"), hasSelection);
  define("bulk-clear", clear, (event) => hasSelection(event) && !document.querySelector("details.menu[open]"));
  // The open chat may not be in the list; its header offers what it is not.
  const offers = (action) => Boolean(document.querySelector(`#chat_header button[data-chat-action][value="${action}"]:not([hidden])`));
  const isUnread = (chat) => rowOf(chat)?.matches(".unread") ?? (chat === okno.chatBulk.openChat() && !offers("unread"));
  const isPinned = (chat) => (rowOf(chat) ? okno.chatRows.traits(rowOf(chat)).has("pinned") : chat === okno.chatBulk.openChat() && offers("unpin"));
  const flip = (on, off, isOn) => () => {
    if (!selected.size) { okno.chatBulk.runFor(isOn(target()) ? off : on, {}, target()); return; }
    run([...selected.keys()].every(isOn) ? off : on);
  };
  define("unread", flip("unread", "read", isUnread), (event) => isFree(event) && Boolean(selected.size || target()));
  define("pin", flip("pin", "unpin", isPinned), (event) => isFree(event) && Boolean(selected.size || target()));
  window.okno = Object.assign(window.okno || {}, { chatSelection: { toggle, clear } });
})();
