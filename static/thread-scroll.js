// Scrolling of the thread: stays at the end, loads earlier messages, shows a message.
(() => {
  if (!document.getElementById("desk")) return;
  const END_MARGIN = 80; // pixels: this close to the end, the thread follows new messages
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

  const loadEarlierMessages = async (link) => {
    const messages = byId("messages"), scroll = byId("scroll");
    const found = await okno.fetchPage(link.href);
    const older = found.getElementById("messages");
    if (!older || messages !== byId("messages")) return; // signed out, or another chat was opened
    const fresh = [...older.children];
    const below = scroll.scrollHeight - scroll.scrollTop;
    const heads = new Set(fresh.filter((node) => node.matches(".day, .fold")).map((node) => node.dataset.key));
    fresh.forEach(okno.threadDetails.applyFold);
    for (const node of [...messages.children]) if (heads.has(node.dataset.key)) node.remove();
    messages.prepend(...fresh);
    fresh.forEach((node) => window.htmx?.process(node));
    okno.setEarlierLink(found.getElementById("earlier").getAttribute("href"));
    scroll.scrollTop = scroll.scrollHeight - below; // keep the reading position
  };

  document.addEventListener("click", (event) => {
    const earlier = event.target.closest("#earlier");
    if (earlier) { event.preventDefault(); loadEarlierMessages(earlier); }
    if (event.target.closest("#newer")) scrollToEnd(byId("scroll"));
    const quoted = event.target.closest("[data-at]");
    if (quoted && showMessage(quoted.dataset.at)) event.preventDefault();
  });

  const fetchPage = async (address) =>
    new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");
  window.okno = Object.assign(window.okno || {}, { fetchPage, threadScroll: { start: startScroll, isAtEnd, showMessage }, scrollToEnd: () => scrollToEnd(byId("scroll")) });
})();
