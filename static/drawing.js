// Redrawing of parts of the page with the server's HTML. Focus, scroll and open menus are kept.
(() => {
  const byId = (id) => document.getElementById(id);

  const parseElements = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return [...holder.content.children];
  };

  // htmx reads the attributes that an element inherits, and dispatches its events, when the response comes. From an element
  // that was removed meanwhile, it would put the response into the wrong place, and nobody would see a refusal.
  const isRequesting = (node) => Boolean(node.matches(".htmx-request") || node.querySelector(".htmx-request"));

  // Update keyed children to match the server. Unchanged nodes are kept, and with them scroll, focus and open
  // details. Nodes that wait for a response are kept, too: the redraw after it replaces them. Nodes marked data-older-page
  // are kept, and unless `isAll`, also nodes before the first known one.
  // `onReplace` may move state from the old node to the new one.
  const patch = (container, fresh, { isAll, onReplace }) => {
    const shown = new Map([...container.children].map((node) => [node.dataset.key, node]));
    const keys = new Set(fresh.map((node) => node.dataset.key));
    let anchor = fresh.map((node) => shown.get(node.dataset.key)).find(Boolean);
    if (anchor && isAll) anchor = container.firstElementChild;
    const focused = container.contains(document.activeElement) ? document.activeElement : null;
    const focusedAt = focused ? [...container.children].findIndex((node) => node.contains(focused)) : -1;
    const added = [];
    if (!anchor) container.replaceChildren();
    for (const node of anchor ? [...following(anchor)] : []) {
      if (keys.has(node.dataset.key) || "olderPage" in node.dataset || isRequesting(node)) continue;
      if (node === anchor) anchor = node.nextElementSibling;
      node.remove();
    }
    let place = anchor || null;
    for (const node of fresh) {
      const old = shown.get(node.dataset.key);
      if (old?.isConnected && (old.dataset.version === node.dataset.version || isRequesting(old))) {
        delete old.dataset.olderPage;
        if (old === place) place = place.nextElementSibling;
        else container.insertBefore(old, place);
        continue;
      }
      container.insertBefore(node, place);
      if (old?.isConnected) {
        if (old === place) place = node.nextElementSibling.nextElementSibling;
        onReplace?.(old, node);
        old.remove();
      } else {
        node.classList.add("appears");
        added.push(node);
      }
      window.htmx?.process(node);
    }
    if (focused && !focused.isConnected) {
      const key = focused.closest("[data-key]")?.dataset.key;
      focusNear(container, container.querySelector(`:scope > [data-key="${CSS.escape(key || "")}"]`), focusedAt);
    } else if (focused && document.activeElement !== focused) {
      focused.focus({ preventScroll: true });
    }
    return added;
  };

  // Focus the new version of an item that had the focus, else the item that took its place, else what contains the list.
  const focusNear = (container, node, at) => {
    const items = [...container.children], nearest = items.slice(Math.max(at, 0)).concat(items.slice(0, Math.max(at, 0)).reverse());
    const targets = [node, ...nearest].map((item) => item?.querySelector("a[href], button"));
    (targets.find((target) => target?.getClientRects().length) || container.closest("[tabindex]"))?.focus({ preventScroll: true });
  };

  function* following(node) {
    for (let next = node; next; next = next.nextElementSibling) yield next;
  }

  // Redraw a part. Wait until an open <details> in it is closed, and until a request of an element in it is answered.
  const postponed = new Map(); // id → {part, html}
  const redraw = (id, html) => {
    const part = byId(id);
    if (part.querySelector("details[open]") || isRequesting(part)) { postponed.set(id, { part, html }); return; }
    postponed.delete(id);
    if (part.dataset.drawn === html) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const focusIds = [focused?.id, focused?.closest("[data-focus-after]")?.dataset.focusAfter].filter(Boolean);
    part.innerHTML = html;
    part.dataset.drawn = html;
    window.htmx?.process(part);
    focusIds.map(byId).find(Boolean)?.focus({ preventScroll: true });
  };
  const redrawPostponed = () => {
    for (const [id, { part, html }] of [...postponed]) {
      if (part === byId(id)) redraw(id, html);
      else postponed.delete(id); // replaced meanwhile
    }
  };
  document.addEventListener("toggle", redrawPostponed, true);
  document.addEventListener("htmx:afterRequest", redrawPostponed);

  const forgetPostponed = () => postponed.clear();
  window.okno = Object.assign(window.okno || {}, { drawing: { parseElements, patch, redraw, forgetPostponed } });
})();
