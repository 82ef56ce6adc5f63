// Command palette (Ctrl+K) and the list of keys (?). Finds chats on the server and commands by any part of their title,
// in both languages and also in the wrong keyboard layout.
(() => {
  const palette = document.getElementById("palette"), help = document.getElementById("keys-help");
  if (!palette || !palette.showModal) return;
  const field = palette.querySelector("input"), options = palette.querySelector("[role=listbox]");
  const RECENT = `okno-recent-${palette.dataset.user}`, MOST_RECENT = 8, PAUSE = 150; // milliseconds
  let found = [], chosen = 0, timer, request = null, chats = { query: "", rows: [] };

  // --- words in any layout ----------------------------------------------------------------------------------------
  const LATIN = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`", CYRILLIC = "йцукенгшщзхъфывапролджэячсмитьбюё";
  const swapLayout = (text) => [...text].map((letter) => {
    const latin = LATIN.indexOf(letter), cyrillic = CYRILLIC.indexOf(letter);
    return latin >= 0 ? CYRILLIC[latin] : cyrillic >= 0 ? LATIN[cyrillic] : letter;
  }).join("");
  const plain = (text) => text.toLowerCase().replaceAll("ё", "е").trim();

  // Score of a title for a query: 0 is no match. Whole words first, then parts of words, then letters in order.
  const score = (title, query) => {
    const text = plain(title);
    if (!query) return 1;
    if (text.startsWith(query)) return 100;
    const words = text.split(/[^\p{L}\p{N}]+/u);
    if (query.split(/\s+/).every((part) => words.some((word) => word.startsWith(part)))) return 80;
    if (text.includes(query)) return 60;
    let at = -1, jumps = 0;
    for (const letter of query.replaceAll(" ", "")) {
      const next = text.indexOf(letter, at + 1);
      if (next < 0) return 0;
      if (next !== at + 1) jumps += 1;
      at = next;
    }
    return jumps <= 3 ? 40 - jumps : 0;
  };
  const best = (command, queries) => Math.max(...queries.map((query) =>
    Math.max(score(command.title, query), score(command.also || "", query) - 5)));

  // --- options ----------------------------------------------------------------------------------------------------
  const build = () => {
    const typed = plain(field.value), queries = [...new Set([typed, plain(swapLayout(typed))])];
    const commands = okno.shortcuts.list()
      .filter((command) => command.name !== "palette" && command.when())
      .map((command, order) => ({ ...command, order, rank: best(command, queries) }))
      .filter((command) => command.rank > 0)
      .sort((a, b) => b.rank - a.rank || a.order - b.order);
    const rows = chats.rows.map((row) => ({ ...row, isChat: true }));
    const strong = typed ? commands.filter((command) => command.rank >= 60) : [];
    const rest = commands.filter((command) => !strong.includes(command));
    found = [...strong, ...rows, ...rest].slice(0, 40);
    chosen = 0;
    draw();
  };

  const keyLabels = (keys) =>
    okno.shortcuts.keyParts(keys).map((key) => Object.assign(document.createElement("kbd"), { textContent: key }));

  const draw = () => {
    options.replaceChildren(...found.map((item, index) => {
      const option = document.createElement("li");
      option.id = `palette-${index}`;
      option.setAttribute("role", "option");
      option.dataset.index = index;
      const title = document.createElement("b"), detail = document.createElement("span");
      title.className = "cut";
      title.textContent = item.title;
      title.dir = "auto";
      detail.className = "cut faint";
      detail.textContent = item.isChat ? item.detail : okno.shortcuts.sections()[item.section] || "";
      option.append(title, detail);
      if (item.keys) option.append(...keyLabels(item.keys));
      return option;
    }));
    const isCurrent = chats.query === field.value.trim();
    palette.querySelector("[data-nothing]").hidden = found.length > 0 || !isCurrent || Boolean(chats.hasFailed);
    palette.querySelector("[data-no-answer]").hidden = !isCurrent || !chats.hasFailed;
    highlight();
  };

  const highlight = () => {
    for (const option of options.children) option.setAttribute("aria-selected", String(Number(option.dataset.index) === chosen));
    const option = options.children[chosen];
    if (option) {
      field.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else field.removeAttribute("aria-activedescendant");
  };

  const fetchChats = async () => {
    request?.abort();
    request = new AbortController();
    const query = field.value.trim();
    const params = new URLSearchParams(query ? { q: query } : { recent: recentChats().join(",") });
    try {
      const answer = await fetch(`${palette.dataset.url}?${params}`, { signal: request.signal });
      if (answer.redirected) dispatchEvent(new Event("okno:signed-out"));
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const found = await answer.json();
      chats = { query, rows: found.chats };
      if (found.views) addViews(found.views);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      chats = { query, rows: [], hasFailed: true }; // commands remain, but no chats of other words
    }
    if (query === field.value.trim() && palette.open) build();
  };

  // --- saved views: commands of this opening ------------------------------------------------------------------------
  let views = new Set(); // names of their commands
  const addViews = (rows) => {
    views = new Set(rows.map((row) => `view-${row.view}`));
    for (const { view, page, title, url } of rows) {
      const name = `view-${view}`;
      okno.shortcuts.add({ name, title, section: "views", run: () => openView(page, url), when: () => views.has(name) });
    }
  };
  // A view of chats replaces the list, so the open chat stays.
  const openView = (page, url) => {
    if (page === "chats" && document.getElementById("desk")) window.htmx.ajax("GET", url, { target: "#list", swap: "outerHTML" });
    else location.assign(url);
  };

  // --- recent chats: only their IDs stay in this browser ------------------------------------------------------------
  const recentChats = () => {
    try { return JSON.parse(localStorage.getItem(RECENT) || "[]").filter(Number.isInteger); } catch { return []; }
  };
  const rememberChat = () => {
    const chat = Number(document.getElementById("chat")?.dataset.chat);
    if (!chat) return;
    try {
      localStorage.setItem(RECENT, JSON.stringify([chat, ...recentChats().filter((pk) => pk !== chat)].slice(0, MOST_RECENT)));
    } catch { /* private mode */ }
  };
  addEventListener("okno:chat-opened", rememberChat);
  rememberChat();

  // --- opening and choosing -----------------------------------------------------------------------------------------
  const open = () => {
    field.value = "";
    chats = { query: "", rows: [] };
    dispatchEvent(new Event("okno:palette-opening"));
    palette.showModal();
    build();
    fetchChats();
  };
  // Closing returns the focus to where it was, before the command moves it.
  const choose = (index) => {
    const item = found[index];
    if (!item) return;
    palette.close();
    if (item.isChat) openChat(item);
    else item.run();
  };

  // Open a chat like a click on its row, which keeps the list's filter, or load its page.
  const openChat = ({ chat, title, url }) => {
    if (!document.getElementById("desk")) { location.assign(url); return; }
    const [path, at] = url.split("?"), params = new URLSearchParams(document.getElementById("list").dataset.query);
    for (const [key, value] of new URLSearchParams(at)) params.set(key, value);
    url = params.size ? `${path}?${params}` : path;
    const link = document.createElement("a"), name = document.createElement("b");
    link.className = "row unseen";
    link.href = url;
    link.dataset.chat = chat;
    name.textContent = title;
    link.append(name);
    document.getElementById("desk").append(link);
    if (!document.activeElement.closest("#chat")) document.activeElement.blur(); // the reply gets the focus
    link.click();
    link.remove();
  };

  field.addEventListener("input", () => {
    build();
    clearTimeout(timer);
    timer = setTimeout(fetchChats, PAUSE);
  });
  field.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.isComposing) return;
    if (steps[event.key] && found.length) {
      event.preventDefault();
      chosen = Math.abs(steps[event.key]) === 1
        ? (chosen + steps[event.key] + found.length) % found.length
        : Math.max(0, Math.min(found.length - 1, chosen + steps[event.key]));
      highlight();
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(chosen);
    }
  });
  options.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(Number(option.dataset.index));
  });
  for (const dialog of [palette, help]) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog || event.target.closest("[data-close]")) dialog.close(); });
  }
  palette.addEventListener("close", () => {
    clearTimeout(timer);
    request?.abort();
  });

  // --- list of keys -------------------------------------------------------------------------------------------------
  const showKeys = () => {
    const parts = [];
    for (const [section, title] of Object.entries(okno.shortcuts.sections())) {
      const commands = okno.shortcuts.list().filter((command) => command.keys && command.section === section);
      if (!commands.length) continue;
      const head = document.createElement("h3"), rows = document.createElement("dl");
      head.textContent = title;
      for (const command of commands) {
        const row = document.createElement("div"), name = document.createElement("dt"), keys = document.createElement("dd");
        name.textContent = command.title;
        keys.append(...keyLabels(command.keys));
        row.append(name, keys);
        rows.append(row);
      }
      const part = document.createElement("section");
      part.append(head, rows);
      parts.push(part);
    }
    help.querySelector("[data-keys]").replaceChildren(...parts);
    help.querySelector("[data-keys-off]").hidden = okno.shortcuts.hasSingleKeys();
    help.showModal();
  };

  okno.shortcuts.define("palette", open);
  okno.shortcuts.define("keys", showKeys);
  window.okno = Object.assign(window.okno || {}, { palette: { openChat } });
})();
