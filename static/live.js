// Live updates of the desk: polls for changes since the displayed versions and redraws only what changed.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const EVERY = 1500, EVERY_HIDDEN = 5000; // milliseconds
  const NEAR_THE_END = 80; // pixels: this close to the end, the thread follows new messages
  const byId = (id) => document.getElementById(id);
  let timer, busy = false, again = false, failures = 0;

  // --- asking --------------------------------------------------------------------------------------------
  const ask = async () => {
    if (okno.isLocked()) return;
    if (busy) { again = true; return; }
    clearTimeout(timer);
    busy = true;
    again = false;
    try {
      await fetchNews();
      failures = 0;
      byId("offline").hidden = true;
      dispatchEvent(new Event("okno:connected"));
    } catch (problem) {
      failures += 1;
      if (problem.signedOut || failures > 2) lost(Boolean(problem.signedOut));
    } finally {
      busy = false;
      const pause = document.hidden ? EVERY_HIDDEN : EVERY * Math.min(1 + failures, 8);
      timer = setTimeout(ask, again ? 0 : pause);
    }
  };

  const lost = (signedOut) => {
    const note = byId("offline");
    note.querySelector("[data-lost]").hidden = signedOut;
    note.querySelector("[data-out]").hidden = !signedOut;
    note.hidden = false;
  };

  const fetchNews = async () => {
    const list = byId("list"), chat = byId("chat");
    const asked = new URLSearchParams(list.dataset.kept);
    asked.set("list", list.dataset.version);
    asked.set("for_user", okno.user);
    if (okno.warnings) asked.set("warned", okno.warnings.last());
    if (chat.dataset.chat) {
      asked.set("chat", chat.dataset.chat);
      asked.set("thread", chat.dataset.version);
      asked.set("others", byId("others").dataset.version);
      if (document.hidden) asked.set("away", "1");
      else if (okno.composer?.writes()) asked.set("writes", "1");
    }
    const headers = { "HX-Request": "true", "Okno-Pass": list.dataset.pass };
    const answer = await fetch(`${desk.dataset.news}?${asked}`, { headers });
    if (answer.redirected) throw Object.assign(new Error("signed out"), { signedOut: true });
    if (answer.status === 204) return;
    if (answer.status === 409) okno.conflict(await answer.text());
    if (!answer.ok) throw new Error(String(answer.status));
    const news = await answer.json();
    okno.setNow(news.now);
    if (news.pass) byId("list").dataset.pass = news.pass;
    // A search or another chat may have been opened meanwhile: ignore answers about replaced elements.
    if (news.list && list === byId("list")) drawList(list, news.list);
    if (news.thread && chat === byId("chat")) drawThread(chat, news.thread);
    if (news.unread && chat === byId("chat") && !chat.inert && !document.hidden) read(chat);
    if (news.others && chat === byId("chat")) drawOthers(news.others);
    if (news.warnings) okno.warnings?.show(news.warnings);
    okno.tick();
  };

  // --- drawing -------------------------------------------------------------------------------------------
  const pieces = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return [...holder.content.children];
  };

  // Update keyed children to match the server. Unchanged nodes are kept, and with them scroll, focus and open
  // details. Nodes marked data-later are kept, and unless `isAll`, also nodes before the first known one.
  const patch = (container, fresh, { isAll }) => {
    const shown = new Map([...container.children].map((node) => [node.dataset.key, node]));
    const keys = new Set(fresh.map((node) => node.dataset.key));
    let anchor = fresh.map((node) => shown.get(node.dataset.key)).find(Boolean);
    if (anchor && isAll) anchor = container.firstElementChild;
    const focused = container.contains(document.activeElement) ? document.activeElement : null;
    const added = [];
    if (!anchor) container.replaceChildren();
    for (const node of anchor ? [...following(anchor)] : []) {
      if (keys.has(node.dataset.key) || "later" in node.dataset) continue;
      if (node === anchor) anchor = node.nextElementSibling;
      node.remove();
    }
    let place = anchor || null;
    for (const node of fresh) {
      const old = shown.get(node.dataset.key);
      if (old?.isConnected && old.dataset.version === node.dataset.version) {
        delete old.dataset.later;
        if (old === place) place = place.nextElementSibling;
        else container.insertBefore(old, place);
        continue;
      }
      container.insertBefore(node, place);
      if (old?.isConnected) {
        if (old === place) place = node.nextElementSibling.nextElementSibling;
        keepWhy(old, node);
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

  const drawList = (list, news) => {
    list.dataset.version = news.version;
    list.dataset.waiting = news.waiting;
    const rows = byId("rows");
    let fresh = pieces(news.rows);
    // Older pages were loaded below: keep their "older" link.
    const later = rows.querySelector("[data-later]");
    if (later) {
      fresh = fresh.filter((node) => node.dataset.key !== "more");
      // Rows that left the first page now belong to the pages below.
      const keys = new Set(fresh.map((node) => node.dataset.key));
      for (let row = later.previousElementSibling; row && !keys.has(row.dataset.key); row = row.previousElementSibling) {
        row.dataset.later = "";
      }
    }
    const before = rows.scrollTop;
    patch(rows, fresh, { isAll: true });
    rows.scrollTop = before;
    dispatchEvent(new Event("okno:listed"));
    byId("tabs").innerHTML = news.tabs;
    window.htmx?.process(byId("tabs"));
    countWaiting();
  };

  const drawThread = (chat, news) => {
    chat.dataset.version = news.version;
    swap("chat_head", news.chat_head);
    swap("client", news.client);
    swap("composer_gate", news.composer_gate);
    const counted = () => Boolean(byId("composer_time").querySelector("[data-expires-at]"));
    const wasOpen = counted();
    swap("composer_time", news.composer_time);
    if (wasOpen && !counted()) okno.say("is_closed");
    const messages = byId("messages");
    if (!("old" in messages.dataset)) drawMessages(messages, pieces(news.messages), news.earlier);
    dispatchEvent(new Event("okno:drawn"));
    dispatchEvent(new CustomEvent("okno:draft", { detail: news }));
  };

  // Presence of others. The text changes only if the people change, so screen readers do not repeat it.
  const drawOthers = ({ version, sentence, writing }) => {
    const place = byId("others"), words = place.querySelector("span");
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
    const isAll = !first || oldest?.dataset.key === first.dataset.key || !has(messages, oldest?.dataset.key);
    if (isAll) leadTo(earlier);
    else fresh = fresh.slice(fresh.indexOf(oldest));
    for (const node of fresh) foldIn(node);
    const added = patch(messages, fresh, { isAll }).filter((node) => node.dataset.side);
    const ours = added.some((node) => node.dataset.side === "outbound");
    if (wasAtEnd || ours) toEnd(scroll);
    else if (added.some((node) => node.dataset.side === "inbound")) byId("newer").hidden = false;
  };

  // --- earlier requests are folded until opened ------------------------------------------------
  const foldOf = (id) => byId("messages").querySelector(`[data-fold="${id}"]`);
  const foldIn = (node) => {
    const link = node.querySelector?.("[data-fold]");
    const shown = (id) => foldOf(id)?.getAttribute("aria-expanded");
    if (link && shown(link.dataset.fold)) link.setAttribute("aria-expanded", shown(link.dataset.fold));
    if (node.dataset.of && shown(node.dataset.of)) node.hidden = shown(node.dataset.of) !== "true";
  };
  const fold = (link) => {
    const opens = link.getAttribute("aria-expanded") !== "true";
    link.setAttribute("aria-expanded", String(opens));
    for (const node of byId("messages").querySelectorAll(`[data-of="${link.dataset.fold}"]`)) node.hidden = !opens;
  };

  const leadTo = (earlier) => {
    byId("earlier").setAttribute("href", earlier);
    byId("earlier").hidden = !earlier;
  };
  const has = (container, key) => Boolean(key && container.querySelector(`:scope > [data-key="${CSS.escape(key)}"]`));

  // Redraw a part. If a <details> in it is open, wait until it is closed.
  const waiting = new Map();
  const swap = (id, html) => {
    const part = byId(id);
    if (part.querySelector("details[open]")) { waiting.set(id, html); return; }
    waiting.delete(id);
    if (part.dataset.drawn === html) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const goBack = [focused?.id, focused?.closest("[data-back]")?.dataset.back].filter(Boolean);
    part.innerHTML = html;
    part.dataset.drawn = html;
    window.htmx?.process(part);
    goBack.map(byId).find(Boolean)?.focus({ preventScroll: true });
  };
  document.addEventListener("toggle", () => { for (const [id, html] of [...waiting]) swap(id, html); }, true);

  const isAtEnd = (scroll) => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_THE_END;
  const toEnd = (scroll) => {
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
  const openWhy = async (link, place) => {
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
    const html = await answer.text();
    if (!answer.ok || answer.redirected || !place.isConnected) return;
    const wasAtEnd = isAtEnd(byId("scroll"));
    place.innerHTML = html;
    link.setAttribute("aria-expanded", "true");
    if (wasAtEnd) toEnd(byId("scroll"));
  };
  const keepWhy = (old, fresh) => {
    const open = old.querySelector?.(".why:not(:empty)");
    const link = fresh.querySelector?.("[data-why]");
    if (!open || !link) return;
    const place = fresh.querySelector(".why");
    place.replaceChildren(...open.childNodes);
    openWhy(link, place);
  };

  const read = (chat) => okno.tell(chat.dataset.seen, { for_chat: chat.dataset.chat }).catch(() => {});

  // --- user actions -------------------------------------------------------------------------------------
  document.addEventListener("click", async (event) => {
    const why = event.target.closest("[data-why]");
    if (why && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const place = byId(why.dataset.why);
      if (place.childNodes.length) {
        place.replaceChildren();
        why.setAttribute("aria-expanded", "false");
      } else openWhy(why, place);
    }
    const older = event.target.closest("[data-more]");
    if (older) { event.preventDefault(); olderChats(older); }
    const earlier = event.target.closest("#earlier");
    if (earlier) { event.preventDefault(); earlierMessages(earlier); }
    if (event.target.closest("#newer")) toEnd(byId("scroll"));
    const folded = event.target.closest("[data-fold]");
    if (folded && !event.ctrlKey && !event.metaKey) { event.preventDefault(); fold(folded); }
    const quoted = event.target.closest("[data-at]");
    if (quoted && show(quoted.dataset.at)) event.preventDefault();
  });

  // Load older chats when the end of the list comes near. The link is for the keyboard and for no scripts.
  const nearEnd = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) if (isIntersecting) olderChats(target);
  }, { rootMargin: "400px" });
  const watchEnd = () => {
    nearEnd.disconnect();
    const link = document.querySelector("[data-more]");
    if (link && byId("rows").scrollTop > 0) nearEnd.observe(link);
  };
  document.addEventListener("scroll", (event) => {
    if (event.target.id === "rows") watchEnd();
  }, { capture: true, passive: true });

  const page = async (address) =>
    new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");

  const olderChats = async (link) => {
    if ("busy" in link.dataset) return;
    link.dataset.busy = "";
    let fresh;
    try {
      fresh = (await page(link.href)).getElementById("rows");
    } finally {
      delete link.dataset.busy;
    }
    const rows = byId("rows");
    if (!link.isConnected || !fresh) return;
    const shown = new Set([...rows.children].map((node) => node.dataset.key));
    link.closest("li").remove();
    for (const node of [...fresh.children]) {
      if (shown.has(node.dataset.key) && node.dataset.key !== "more") continue;
      node.dataset.later = "";
      rows.append(node);
      window.htmx?.process(node);
    }
    watchEnd();
    dispatchEvent(new Event("okno:listed"));
  };

  const earlierMessages = async (link) => {
    const messages = byId("messages"), scroll = byId("scroll");
    const found = await page(link.href);
    const older = found.getElementById("messages");
    if (!older || messages !== byId("messages")) return; // signed out, or another chat was opened
    const fresh = [...older.children];
    const below = scroll.scrollHeight - scroll.scrollTop;
    const heads = new Set(fresh.filter((node) => node.matches(".day, .fold")).map((node) => node.dataset.key));
    fresh.forEach(foldIn);
    for (const node of [...messages.children]) if (heads.has(node.dataset.key)) node.remove();
    messages.prepend(...fresh);
    fresh.forEach((node) => window.htmx?.process(node));
    leadTo(found.getElementById("earlier").getAttribute("href"));
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
    if (isSignedOut) lost(true);
    if (isDone) for (const menu of document.querySelectorAll("details.menu[open], details.adds[open]")) shutMenu(menu);
    else dispatchEvent(new CustomEvent("okno:refused", { detail: sentenceOf(xhr) }));
    ask();
  });
  const sentenceOf = (xhr) => {
    try {
      return JSON.parse(xhr.responseText).sentence || "";
    } catch {
      return byId("composer")?.dataset.failed || "";
    }
  };

  // Return keyboard focus to the menu's button.
  const shutMenu = (menu) => {
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
    if (event.key === "Escape") shutMenu(adds);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });

  // Scroll to a message and highlight it. Returns false if it is not on this page.
  const show = (id) => {
    const message = id && byId(id);
    if (!message) return false;
    if (message.hidden) fold(foldOf(message.dataset.of));
    message.scrollIntoView({ block: "center" });
    message.classList.remove("found");
    requestAnimationFrame(() => message.classList.add("found"));
    return true;
  };

  const opened = ({ mayFocus = true } = {}) => {
    const chat = byId("chat");
    waiting.clear();
    desk.classList.toggle("has-chat", Boolean(chat.dataset.chat));
    dispatchEvent(new Event("okno:opened"));
    settle();
    if (mayFocus && matchMedia("(min-width: 761px)").matches) byId("text")?.focus({ preventScroll: true });
    if (Number(chat.dataset.unread) && !document.hidden) read(chat);
    okno.tick();
    ask();
  };
  const place = (scroll) => {
    const messages = byId("messages");
    if (!show(messages.dataset.at) && !("old" in messages.dataset)) toEnd(scroll);
  };
  let settled = null;
  const settle = () => {
    const scroll = byId("scroll");
    if (!scroll || scroll === settled) return;
    settled = scroll;
    place(scroll);
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

  addEventListener("okno:closed", (event) => {
    if ("gate" in event.detail.dataset) {
      event.detail.hidden = true;
      document.querySelector("[data-when-closed]")?.removeAttribute("hidden");
    }
    ask();
  });
  addEventListener("okno:ask", ask);
  addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  addEventListener("online", ask);
  addEventListener("okno:signed-out", () => lost(true));
  window.okno = Object.assign(window.okno || {}, { opened, toEnd: () => toEnd(byId("scroll")) });
  opened();
  countWaiting();
})();
