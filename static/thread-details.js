// Details inside the thread: folded earlier requests, and the delivery trail of a message.
(() => {
  if (!document.getElementById("desk")) return;
  const byId = (id) => document.getElementById(id);

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

  const unfold = (message) => toggleFold(foldOf(message.dataset.request));

  // --- delivery trail: a click on a message's time opens it -------------------------------------------
  const openTrail = async (link, place) => {
    let html;
    try {
      const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      html = await answer.text();
    } catch {
      dispatchEvent(new CustomEvent("okno:action-refused", { detail: { sentence: byId("composer")?.dataset.failed || "" } }));
      return;
    }
    if (!place.isConnected) return;
    const wasAtEnd = okno.threadScroll.isAtEnd(byId("scroll"));
    place.innerHTML = html;
    link.setAttribute("aria-expanded", "true");
    if (wasAtEnd) okno.scrollToEnd();
  };
  const keepTrail = (old, fresh) => {
    const open = old.querySelector?.(".trail:not(:empty)");
    const link = fresh.querySelector?.("[data-trail]");
    if (!open || !link) return;
    const place = fresh.querySelector(".trail");
    place.replaceChildren(...open.childNodes);
    openTrail(link, place);
  };

  document.addEventListener("click", (event) => {
    const trail = event.target.closest("[data-trail]");
    if (trail && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const place = byId(trail.dataset.trail);
      if (place.childNodes.length) {
        place.replaceChildren();
        trail.setAttribute("aria-expanded", "false");
      } else openTrail(trail, place);
    }
    const folded = event.target.closest("[data-fold]");
    if (folded && !event.ctrlKey && !event.metaKey) { event.preventDefault(); toggleFold(folded); }
  });
  window.okno = Object.assign(window.okno || {}, { threadDetails: { applyFold, unfold, keepTrail } });
})();
