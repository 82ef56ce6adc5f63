// Live updates of the desk: polls for changes since the displayed versions and redraws only what changed.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const POLL_INTERVAL = 1500, POLL_INTERVAL_HIDDEN = 5000; // milliseconds
  const END_MARGIN = 80; // pixels: this close to the end, the thread follows new messages
  const byId = (id) => document.getElementById(id);
  let timer, busy = false, isRepeatNeeded = false, failures = 0, isPressed = false;

  // A click is lost if its target is replaced between press and release. The next poll repeats skipped updates.
  // Only the main button counts, and moves do too: a context menu swallows the release.
  for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
    addEventListener(name, (event) => { isPressed = Boolean(event.buttons & 1); }, { capture: true, passive: true });
  }

  // --- polling --------------------------------------------------------------------------------------------
  const poll = async () => {
    if (okno.isLocked()) return;
    if (busy) { isRepeatNeeded = true; return; }
    clearTimeout(timer);
    busy = true;
    isRepeatNeeded = false;
    try {
      await fetchUpdates();
      failures = 0;
      byId("offline").hidden = true;
      dispatchEvent(new Event("okno:connected"));
    } catch (problem) {
      failures += 1;
      if (problem.signedOut || failures > 2) showOffline(Boolean(problem.signedOut));
    } finally {
      busy = false;
      const pause = document.hidden ? POLL_INTERVAL_HIDDEN : POLL_INTERVAL * Math.min(1 + failures, 8);
      timer = setTimeout(poll, isRepeatNeeded ? 0 : pause);
    }
  };

  const showOffline = (signedOut) => {
    const note = byId("offline");
    note.querySelector("[data-offline]").hidden = signedOut;
    note.querySelector("[data-session-ended]").hidden = !signedOut;
    note.hidden = false;
  };

  const fetchUpdates = async () => {
    const list = byId("list"), chat = byId("chat");
    const params = new URLSearchParams(list.dataset.query);
    params.set("list", list.dataset.version);
    params.set("for_user", okno.user);
    if (okno.warnings) params.set("last_warning", okno.warnings.last());
    if (chat.dataset.chat) {
      params.set("chat", chat.dataset.chat);
      params.set("thread", chat.dataset.version);
      params.set("others", byId("presence").dataset.version);
      if (document.hidden) params.set("away", "1");
      else if (okno.composer?.isWriting()) params.set("writes", "1");
    }
    const headers = { "HX-Request": "true", "Okno-Poll-Token": list.dataset.pollToken };
    const answer = await fetch(`${desk.dataset.updatesUrl}?${params}`, { headers });
    if (answer.redirected) throw Object.assign(new Error("signed out"), { signedOut: true });
    if (answer.status === 204) return;
    if (answer.status === 409) okno.handleConflict(await answer.text());
    // The operator lost access to this chat: the page that says so replaces what is shown.
    if (answer.status === 404 && chat === byId("chat")) location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const updates = await answer.json();
    okno.setNow(updates.now);
    if (updates.poll_token) byId("list").dataset.pollToken = updates.poll_token;
    // A search or another chat may have been opened meanwhile: ignore answers about replaced elements.
    if (updates.list && !isPressed && list === byId("list")) drawList(list, updates.list);
    if (updates.thread && !isPressed && chat === byId("chat")) drawThread(chat, updates.thread);
    if (updates.unread && !isPressed && chat === byId("chat") && !chat.inert && !document.hidden) markSeen(chat);
    if (updates.others && chat === byId("chat")) drawPresence(updates.others);
    if (updates.warnings) okno.warnings?.show(updates.warnings);
    okno.tick();
  };

  // --- drawing -------------------------------------------------------------------------------------------
  const parseElements = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return [...holder.content.children];
  };

  // Update keyed children to match the server. Unchanged nodes are kept, and with them scroll, focus and open
  // details. Nodes marked data-older-page are kept, and unless `isAll`, also nodes before the first known one.
  const patch = (container, fresh, { isAll }) => {
    const shown = new Map([...container.children].map((node) => [node.dataset.key, node]));
    const keys = new Set(fresh.map((node) => node.dataset.key));
    let anchor = fresh.map((node) => shown.get(node.dataset.key)).find(Boolean);
    if (anchor && isAll) anchor = container.firstElementChild;
    const focused = container.contains(document.activeElement) ? document.activeElement : null;
    const added = [];
    if (!anchor) container.replaceChildren();
    for (const node of anchor ? [...following(anchor)] : []) {
      if (keys.has(node.dataset.key) || "olderPage" in node.dataset) continue;
      if (node === anchor) anchor = node.nextElementSibling;
      node.remove();
    }
    let place = anchor || null;
    for (const node of fresh) {
      const old = shown.get(node.dataset.key);
      if (old?.isConnected && old.dataset.version === node.dataset.version) {
        delete old.dataset.olderPage;
        if (old === place) place = place.nextElementSibling;
        else container.insertBefore(old, place);
        continue;
      }
      container.insertBefore(node, place);
      if (old?.isConnected) {
        if (old === place) place = node.nextElementSibling.nextElementSibling;
        keepTrail(old, node);
        old.remove();
      } else {
        node.classList.add("appears");
        added.push(node);
      }
      window.htmx?.process(node);
    }
    if (focused && !focused.isConnected) {
      const key = focused.closest("[data-key]")?.dataset.key;
      container.querySelector(`[data-key="${key}"] a`)?.focus({ preventScroll: true });
    } else if (focused && document.activeElement !== focused) {
      focused.focus({ preventScroll: true });
    }
    return added;
  };

  function* following(node) {
    for (let next = node; next; next = next.nextElementSibling) yield next;
  }

  const drawList = (list, updates) => {
    list.dataset.version = updates.version;
    list.dataset.waiting = updates.waiting;
    const rows = byId("rows");
    let fresh = parseElements(updates.rows);
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
    patch(rows, fresh, { isAll: true });
    rows.scrollTop = before;
    dispatchEvent(new Event("okno:list-drawn"));
    byId("tabs").innerHTML = updates.tabs;
    window.htmx?.process(byId("tabs"));
    countWaiting();
  };

  const drawThread = (chat, updates) => {
    chat.dataset.version = updates.version;
    redraw("chat_header", updates.chat_header);
    redraw("client", updates.client);
    redraw("composer_notices", updates.composer_notices);
    const counted = () => Boolean(byId("composer_time").querySelector("[data-expires-at]"));
    const wasOpen = counted();
    redraw("composer_time", updates.composer_time);
    if (wasOpen && !counted()) okno.announce("is_closed");
    const messages = byId("messages");
    if (!("notNewest" in messages.dataset)) drawMessages(messages, parseElements(updates.messages), updates.earlier);
    dispatchEvent(new Event("okno:thread-drawn"));
    dispatchEvent(new CustomEvent("okno:draft-received", { detail: updates }));
  };

  // Presence of others. The text changes only if the people change, so screen readers do not repeat it.
  const drawPresence = ({ version, sentence, writing }) => {
    const place = byId("presence"), words = place.querySelector("span");
    place.dataset.version = version;
    if (words.textContent !== sentence) words.textContent = sentence;
    place.classList.toggle("writing", writing);
    place.hidden = !sentence;
  };

  const drawMessages = (messages, fresh, earlier) => {
    const scroll = byId("scroll");
    const wasAtEnd = isAtEnd(scroll);
    // Earlier messages may have been loaded above the newest page, possibly of the same day.
    const isMessage = (node) => node.dataset.key.startsWith("m");
    const oldest = fresh.find(isMessage), first = [...messages.children].find(isMessage);
    const isAll = !first || oldest?.dataset.key === first.dataset.key || !hasItem(messages, oldest?.dataset.key);
    if (isAll) setEarlierLink(earlier);
    else fresh = fresh.slice(fresh.indexOf(oldest));
    for (const node of fresh) applyFold(node);
    const added = patch(messages, fresh, { isAll }).filter((node) => node.dataset.side);
    const ours = added.some((node) => node.dataset.side === "outbound");
    if (wasAtEnd || ours) scrollToEnd(scroll);
    else if (added.some((node) => node.dataset.side === "inbound")) byId("newer").hidden = false;
  };

  // --- folded earlier requests ------------------------------------------------
  const foldOf = (id) => byId("messages").querySelector(`[data-fold="${id}"]`);
  const applyFold = (node) => {
    const link = node.querySelector?.("[data-fold]");
    const shown = (id) => foldOf(id)?.getAttribute("aria-expanded");
    if (link && shown(link.dataset.fold)) link.setAttribute("aria-expanded", shown(link.dataset.fold));
    if (node.dataset.request && shown(node.dataset.request)) node.hidden = shown(node.dataset.request) !== "true";
  };
  const toggleFold = (link) => {
    const opens = link.getAttribute("aria-expanded") !== "true";
    link.setAttribute("aria-expanded", String(opens));
    for (const node of byId("messages").querySelectorAll(`[data-request="${link.dataset.fold}"]`)) node.hidden = !opens;
  };

  const setEarlierLink = (earlier) => {
    byId("earlier").setAttribute("href", earlier);
    byId("earlier").hidden = !earlier;
  };
  const hasItem = (container, key) => Boolean(key && container.querySelector(`:scope > [data-key="${CSS.escape(key)}"]`));

  // Redraw a part. If a <details> in it is open, wait until it is closed.
  const postponed = new Map();
  const redraw = (id, html) => {
    const part = byId(id);
    if (part.querySelector("details[open]")) { postponed.set(id, html); return; }
    postponed.delete(id);
    if (part.dataset.drawn === html) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const focusIds = [focused?.id, focused?.closest("[data-focus-after]")?.dataset.focusAfter].filter(Boolean);
    part.innerHTML = html;
    part.dataset.drawn = html;
    window.htmx?.process(part);
    focusIds.map(byId).find(Boolean)?.focus({ preventScroll: true });
  };
  document.addEventListener("toggle", () => { for (const [id, html] of [...postponed]) redraw(id, html); }, true);

  const isAtEnd = (scroll) => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < END_MARGIN;
  const scrollToEnd = (scroll) => {
    scroll.scrollTop = scroll.scrollHeight;
    byId("newer").hidden = true;
  };
  const countWaiting = () => {
    const number = Number(byId("list").dataset.waiting || 0), count = byId("rail-count");
    count.textContent = number > 99 ? "99+" : number;
    count.hidden = !number;
    document.title = document.title.replace(/^\(\d+\+?\) /, "");
    if (number) document.title = `(${number > 99 ? "99+" : number}) ${document.title}`;
  };

  // --- delivery trail: a click on a message's time opens it -------------------------------------------
  const openTrail = async (link, place) => {
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
    const html = await answer.text();
    if (!answer.ok || answer.redirected || !place.isConnected) return;
    const wasAtEnd = isAtEnd(byId("scroll"));
    place.innerHTML = html;
    link.setAttribute("aria-expanded", "true");
    if (wasAtEnd) scrollToEnd(byId("scroll"));
  };
  const keepTrail = (old, fresh) => {
    const open = old.querySelector?.(".trail:not(:empty)");
    const link = fresh.querySelector?.("[data-trail]");
    if (!open || !link) return;
    const place = fresh.querySelector(".trail");
    place.replaceChildren(...open.childNodes);
    openTrail(link, place);
  };

  const markSeen = (chat) => okno.postAsUser(chat.dataset.seenUrl, { for_chat: chat.dataset.chat }).catch(() => {});

  // --- user actions -------------------------------------------------------------------------------------
  document.addEventListener("click", async (event) => {
    const trail = event.target.closest("[data-trail]");
    if (trail && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const place = byId(trail.dataset.trail);
      if (place.childNodes.length) {
        place.replaceChildren();
        trail.setAttribute("aria-expanded", "false");
      } else openTrail(trail, place);
    }
    const older = event.target.closest("[data-more]");
    if (older) { event.preventDefault(); loadOlderChats(older); }
    const earlier = event.target.closest("#earlier");
    if (earlier) { event.preventDefault(); loadEarlierMessages(earlier); }
    if (event.target.closest("#newer")) scrollToEnd(byId("scroll"));
    const folded = event.target.closest("[data-fold]");
    if (folded && !event.ctrlKey && !event.metaKey) { event.preventDefault(); toggleFold(folded); }
    const quoted = event.target.closest("[data-at]");
    if (quoted && showMessage(quoted.dataset.at)) event.preventDefault();
  });

  // Load older chats near the end of the list. The link serves keyboards and browsers without scripts.
  const nearEnd = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) if (isIntersecting) loadOlderChats(target);
  }, { rootMargin: "400px" });
  const watchEnd = () => {
    nearEnd.disconnect();
    const link = document.querySelector("[data-more]");
    if (link && byId("rows").scrollTop > 0) nearEnd.observe(link);
  };
  document.addEventListener("scroll", (event) => {
    if (event.target.id === "rows") watchEnd();
  }, { capture: true, passive: true });

  const fetchPage = async (address) =>
    new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");

  const loadOlderChats = async (link) => {
    if ("busy" in link.dataset) return;
    link.dataset.busy = "";
    let fresh;
    try {
      fresh = (await fetchPage(link.href)).getElementById("rows");
    } finally {
      delete link.dataset.busy;
    }
    const rows = byId("rows");
    if (!link.isConnected || !fresh) return;
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

  const loadEarlierMessages = async (link) => {
    const messages = byId("messages"), scroll = byId("scroll");
    const found = await fetchPage(link.href);
    const older = found.getElementById("messages");
    if (!older || messages !== byId("messages")) return; // signed out, or another chat was opened
    const fresh = [...older.children];
    const below = scroll.scrollHeight - scroll.scrollTop;
    const heads = new Set(fresh.filter((node) => node.matches(".day, .fold")).map((node) => node.dataset.key));
    fresh.forEach(applyFold);
    for (const node of [...messages.children]) if (heads.has(node.dataset.key)) node.remove();
    messages.prepend(...fresh);
    fresh.forEach((node) => window.htmx?.process(node));
    setEarlierLink(found.getElementById("earlier").getAttribute("href"));
    scroll.scrollTop = scroll.scrollHeight - below; // keep the reading position
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      byId("search-chats").focus();
    }
  });

  document.addEventListener("htmx:afterSwap", () => {
    countWaiting();
    okno.tick();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (requestConfig.verb !== "post") return;
    const isSignedOut = xhr.responseURL && new URL(xhr.responseURL).pathname !== new URL(requestConfig.path, location).pathname;
    const isDone = xhr.status >= 200 && xhr.status < 300 && !isSignedOut;
    if (isSignedOut) showOffline(true);
    if (isDone) for (const menu of document.querySelectorAll("details.menu[open], details.adds[open]")) closeMenu(menu);
    else dispatchEvent(new CustomEvent("okno:action-refused", { detail: errorSentence(xhr) }));
    poll();
  });
  const errorSentence = (xhr) => {
    try {
      return JSON.parse(xhr.responseText).sentence || "";
    } catch {
      return byId("composer")?.dataset.failed || "";
    }
  };

  // Return keyboard focus to the menu's button.
  const closeMenu = (menu) => {
    const hasFocus = menu.contains(document.activeElement);
    menu.open = false;
    if (hasFocus) menu.querySelector("summary").focus({ preventScroll: true });
  };
  document.addEventListener("toggle", (event) => {
    if (event.target.matches("details.adds[open]")) event.target.querySelector("input.input, textarea").focus();
  }, true);
  document.addEventListener("keydown", (event) => {
    const adds = event.target.closest?.("details.adds[open]");
    if (!adds) return;
    if (event.key === "Escape") closeMenu(adds);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });

  // Scroll to a message and highlight it. Returns false if it is not on this page.
  const showMessage = (id) => {
    const message = id && byId(id);
    if (!message) return false;
    if (message.hidden) toggleFold(foldOf(message.dataset.request));
    message.scrollIntoView({ block: "center" });
    message.classList.remove("found");
    requestAnimationFrame(() => message.classList.add("found"));
    return true;
  };

  const startChat = ({ mayFocus = true } = {}) => {
    const chat = byId("chat");
    postponed.clear();
    desk.classList.toggle("has-chat", Boolean(chat.dataset.chat));
    dispatchEvent(new Event("okno:chat-opened"));
    startScroll();
    if (mayFocus && matchMedia("(min-width: 47.5625em)").matches) byId("text")?.focus({ preventScroll: true });
    if (Number(chat.dataset.unread) && !document.hidden) markSeen(chat);
    okno.tick();
    poll();
  };
  const setInitialScroll = (scroll) => {
    const messages = byId("messages");
    if (!showMessage(messages.dataset.at) && !("notNewest" in messages.dataset)) scrollToEnd(scroll);
  };
  let startedScroll = null;
  const startScroll = () => {
    const scroll = byId("scroll");
    if (!scroll || scroll === startedScroll) return;
    startedScroll = scroll;
    setInitialScroll(scroll);
    stayAtEnd(scroll);
  };
  // Stay at the end of the thread while pictures load and the composer grows.
  const stayAtEnd = (scroll) => {
    let atEnd = isAtEnd(scroll);
    scroll.addEventListener("scroll", () => {
      atEnd = isAtEnd(scroll);
      if (atEnd) byId("newer").hidden = true;
    }, { passive: true });
    const size = new ResizeObserver(() => { if (atEnd && scroll.isConnected) scroll.scrollTop = scroll.scrollHeight; });
    size.observe(byId("messages"));
    size.observe(byId("sending"));
    size.observe(scroll);
  };

  addEventListener("okno:window-closed", (event) => {
    if ("announce" in event.detail.dataset) {
      event.detail.hidden = true;
      document.querySelector("[data-when-closed]")?.removeAttribute("hidden");
    }
    poll();
  });
  addEventListener("okno:poll", poll);
  addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  addEventListener("online", poll);
  addEventListener("okno:signed-out", () => showOffline(true));
  window.okno = Object.assign(window.okno || {}, { startChat, scrollToEnd: () => scrollToEnd(byId("scroll")) });
  startChat();
  countWaiting();
})();
