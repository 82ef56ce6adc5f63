// Scrolling of the thread: stays at the end, loads earlier messages, shows a message.
(() => {
  if (!document.getElementById("desk")) return;
  const END_MARGIN = 80; // pixels: this close to the end, the thread follows new messages
  const LOAD_MARGIN = 600; // pixels: this close to the beginning, earlier messages load
  const byId = (id) => document.getElementById(id);

  const isAtEnd = (scroll) => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < END_MARGIN;
  const scrollToEnd = (scroll) => {
    scroll.scrollTop = scroll.scrollHeight;
    byId("newer").hidden = true;
  };

  // Scroll to a message and highlight it. Returns false if it is not on this page.
  const showMessage = (id) => {
    const message = id && byId(id);
    if (!message) return false;
    if (message.hidden) okno.threadDetails.unfold(message);
    message.scrollIntoView({ block: "center" });
    message.classList.remove("found");
    requestAnimationFrame(() => message.classList.add("found"));
    return true;
  };

  const setInitialScroll = (scroll) => {
    const messages = byId("messages");
    if (!showMessage(messages.dataset.at) && !("notNewest" in messages.dataset)) scrollToEnd(scroll);
    okno.unreadLine.show(scroll);
  };
  const positions = new WeakMap(); // scroll element of a chat in the cache → its position
  const started = new WeakSet();
  const remember = () => {
    const scroll = byId("scroll");
    if (scroll) positions.set(scroll, isAtEnd(scroll) ? Infinity : scroll.scrollTop);
  };
  const startScroll = () => {
    const scroll = byId("scroll");
    if (!scroll) return;
    if (positions.has(scroll)) scroll.scrollTop = Math.min(positions.get(scroll), scroll.scrollHeight);
    positions.delete(scroll);
    if (started.has(scroll)) return;
    started.add(scroll);
    setInitialScroll(scroll);
    stayAtEnd(scroll);
  };
  // Stay at the end of the thread while pictures load and the composer grows, but not at the end of an earlier page.
  const isAtNewest = (scroll) => isAtEnd(scroll) && !("notNewest" in scroll.querySelector("#messages").dataset);
  const stayAtEnd = (scroll) => {
    let atEnd = isAtNewest(scroll);
    scroll.addEventListener("scroll", () => {
      atEnd = isAtNewest(scroll);
      if (atEnd && scroll === byId("scroll")) byId("newer").hidden = true; // not of a chat that was left
    }, { passive: true });
    const size = new ResizeObserver(() => { if (atEnd && scroll.isConnected) scroll.scrollTop = scroll.scrollHeight; });
    size.observe(byId("messages"));
    size.observe(byId("sending"));
    size.observe(scroll);
  };

  // Load the page of a link, which shows its state. Returns the page, or null. After a failure the link loads when it is
  // pressed, and by scrolling once the connection is back.
  const loadLinkedPage = async (link) => {
    if (!link || link.hidden || link.getAttribute("aria-busy")) return null;
    link.dataset.words ||= link.textContent;
    link.setAttribute("aria-busy", "true");
    link.textContent = link.dataset.loading;
    delete link.dataset.hasFailed;
    let page = null;
    try {
      page = await fetchPage(link.href);
    } catch {
      link.dataset.hasFailed = "";
    }
    link.removeAttribute("aria-busy");
    link.textContent = page ? link.dataset.words : link.dataset.failed;
    return page;
  };
  addEventListener("okno:connected", () => {
    for (const link of document.querySelectorAll("[data-has-failed]")) delete link.dataset.hasFailed;
  });
  const loadMessages = async (link) => {
    const messages = byId("messages"), page = await loadLinkedPage(link);
    return messages === byId("messages") && page?.getElementById("messages") ? page : null; // or another chat was opened
  };
  // Earlier and later messages load by themselves near the ends. The buttons serve keyboards and short threads.
  const loadEarlierMessages = async (link) => {
    const page = await loadMessages(link);
    if (!page) return;
    const messages = byId("messages"), scroll = byId("scroll");
    const fresh = [...page.getElementById("messages").children];
    const below = scroll.scrollHeight - scroll.scrollTop;
    const heads = new Set(fresh.filter((node) => node.matches(".day, .fold")).map((node) => node.dataset.key));
    fresh.forEach(okno.threadDetails.applyFold);
    for (const node of [...messages.children]) if (heads.has(node.dataset.key)) node.remove();
    messages.prepend(...fresh);
    fresh.forEach((node) => window.htmx?.process(node));
    okno.setEarlierLink(page.getElementById("earlier").getAttribute("href"));
    scroll.scrollTop = scroll.scrollHeight - below; // keep the reading position
    dispatchEvent(new Event("okno:earlier-loaded"));
  };
  // The newest page ends the thread: from then on, it is updated like a chat that was opened at its end.
  const loadLaterMessages = async (link) => {
    const page = await loadMessages(link);
    if (!page) return;
    const messages = byId("messages"), later = page.getElementById("later");
    const shown = new Set([...messages.children].map((node) => node.dataset.key));
    const fresh = [...page.getElementById("messages").children].filter((node) => !shown.has(node.dataset.key));
    fresh.forEach(okno.threadDetails.applyFold);
    messages.append(...fresh);
    fresh.forEach((node) => window.htmx?.process(node));
    if (later) link.setAttribute("href", later.getAttribute("href"));
    else {
      byId("thread-end").remove();
      delete messages.dataset.notNewest;
      byId("chat").dataset.version = "";
      dispatchEvent(new Event("okno:poll"));
    }
    dispatchEvent(new Event("okno:earlier-loaded"));
  };
  let lastTop = 0;
  document.addEventListener("scroll", ({ target: scroll }) => {
    if (scroll.id !== "scroll") return;
    const isUpwards = scroll.scrollTop < lastTop, below = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight;
    lastTop = scroll.scrollTop;
    const [earlier, later] = [byId("earlier"), byId("later")];
    if (isUpwards && scroll.scrollTop < LOAD_MARGIN && !("hasFailed" in earlier.dataset)) loadEarlierMessages(earlier);
    if (!isUpwards && later && below < LOAD_MARGIN && !("hasFailed" in later.dataset)) loadLaterMessages(later);
  }, { capture: true, passive: true });

  document.addEventListener("click", (event) => {
    const earlier = event.target.closest("#earlier");
    if (earlier) { event.preventDefault(); loadEarlierMessages(earlier); }
    const later = event.target.closest("#later");
    if (later) { event.preventDefault(); loadLaterMessages(later); }
    if (event.target.closest("#newer")) scrollToEnd(byId("scroll"));
    const quoted = event.target.closest("[data-at]");
    if (quoted && showMessage(quoted.dataset.at)) event.preventDefault(); // otherwise chat-opening.js opens its page
  });

  const PAGE_TIMEOUT = 30_000; // milliseconds
  // Return a page of this portal. Raises an error for any other answer.
  const fetchPage = async (address) => {
    const answer = await fetch(address, { signal: AbortSignal.timeout(PAGE_TIMEOUT) });
    if (answer.redirected) dispatchEvent(new Event("okno:signed-out"));
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };
  window.okno = Object.assign(window.okno || {}, { loadLinkedPage, threadScroll: { start: startScroll, remember, loadEarlier: () => loadEarlierMessages(byId("earlier")), isAtEnd }, scrollToEnd: () => scrollToEnd(byId("scroll")) });
})();
