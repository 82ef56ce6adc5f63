// Controls of the rows of the chat list: a checkbox, and a menu that the "…" button, the context menu key and Shift+F10
// open.
(() => {
  const menu = document.getElementById("row-menu");
  if (!menu) return;
  const MARGIN = 8; // pixels to the edges of the window
  const byId = (id) => document.getElementById(id);
  const texts = byId("chat-bulk").dataset;
  let chat = "", opener = "";

  // --- controls of each row -------------------------------------------------------------------------------------------
  const decorate = () => {
    for (const row of document.querySelectorAll("#rows > li > a.row[data-chat]")) {
      if (row.nextElementSibling) continue;
      const name = row.querySelector("b").textContent;
      const controls = byId("row-controls").content.cloneNode(true);
      const box = controls.querySelector("input"), more = controls.querySelector("button");
      box.value = row.dataset.chat;
      box.setAttribute("aria-label", texts.pickLabel.replace("{name}", name));
      more.setAttribute("aria-label", texts.menuLabel.replace("{name}", name));
      row.after(controls);
    }
  };
  const traits = (row) => new Set([...(row.dataset.traits || "").split(" "), row.matches(".unread") ? "unread" : ""].filter(Boolean));

  // --- menu -------------------------------------------------------------------------------------------------------------
  const rowOf = (number) => okno.chatBulk.rowOf(number);
  const buttonOf = (number) => rowOf(number)?.parentElement.querySelector(".row-more");
  const close = ({ focuses = false } = {}) => {
    if (menu.hidden) return;
    menu.hidden = true;
    buttonOf(chat)?.setAttribute("aria-expanded", "false");
    if (focuses) (opener === "button" ? buttonOf(chat) : rowOf(chat))?.focus({ preventScroll: true });
    // Afterwards, because an action of the menu is sent with the state of the row that the user saw.
    queueMicrotask(() => dispatchEvent(new Event("okno:row-menu-closed")));
  };
  const isMenuOpen = () => !menu.hidden;
  const items = () => [...menu.querySelectorAll("a, button, summary, input")].filter((item) => item.getClientRects().length);
  const place = () => {
    const row = rowOf(chat).parentElement.getBoundingClientRect(), more = buttonOf(chat).getBoundingClientRect();
    const { width, height } = menu.getBoundingClientRect();
    const below = Math.max(more.bottom, row.top) + 4;
    const top = below + height + MARGIN <= innerHeight ? below : Math.max(MARGIN, Math.min(more.top - height - 4, innerHeight - height - MARGIN));
    menu.style.top = `${top}px`;
    menu.style.left = `${Math.max(MARGIN, Math.min(more.right - width, innerWidth - width - MARGIN))}px`;
  };
  const open = (number, from) => {
    const row = rowOf(number);
    if (!row) return;
    close();
    [chat, opener] = [number, from];
    const has = traits(row);
    for (const item of menu.querySelectorAll("[data-if], [data-unless]")) {
      const words = (name) => (item.dataset[name] || "").split(" ").filter(Boolean);
      item.hidden = words("if").some((trait) => !has.has(trait)) || words("unless").some((trait) => has.has(trait));
      if (item.matches("details")) item.open = false;
    }
    menu.querySelector("[data-open-tab]").href = row.href;
    menu.setAttribute("aria-label", texts.menuLabel.replace("{name}", row.querySelector("b").textContent));
    menu.hidden = false;
    buttonOf(chat).setAttribute("aria-expanded", "true");
    place();
    items()[0].focus({ preventScroll: true });
  };

  document.addEventListener("click", (event) => {
    const more = event.target.closest?.(".row-more");
    if (more) {
      const number = more.parentElement.querySelector("a.row").dataset.chat;
      if (!menu.hidden && number === chat) close({ focuses: true });
      else open(number, "button");
      return;
    }
    if (menu.hidden) return;
    if (!menu.contains(event.target)) { close(); return; }
    const button = event.target.closest("button, a");
    if (!button) return;
    if (button.matches("[data-bulk]")) {
      const values = button.name ? { [button.name]: button.value } : {};
      close({ focuses: true });
      okno.chatBulk.runFor(button.dataset.bulk, values, chat);
    } else if (button.matches("[data-select-row]")) {
      close({ focuses: true });
      okno.chatSelection.toggle(chat, true);
    } else if (button.matches("a")) close({ focuses: true });
  });
  menu.addEventListener("submit", (event) => {
    event.preventDefault();
    const { tag } = event.target.elements, value = tag.value;
    tag.value = "";
    close({ focuses: true });
    okno.chatBulk.runFor(event.target.dataset.bulkForm, { tag: value }, chat);
  });
  menu.addEventListener("toggle", (event) => {
    if (!event.target.open) return;
    for (const other of menu.querySelectorAll("details[open]")) if (other !== event.target) other.open = false;
    place();
    event.target.querySelector("input, button")?.focus({ preventScroll: true });
  }, true);
  menu.addEventListener("keydown", (event) => {
    const all = items(), at = all.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    if (event.key === "Escape") close({ focuses: true });
    else if (event.key in steps && !(event.target.matches("input") && /Home|End/.test(event.key))) all[(steps[event.key] + all.length) % all.length].focus();
    else if (event.key === "Tab") { close({ focuses: true }); return; }
    else { okno.chatBulk.keepKey(event); return; }
    event.preventDefault();
    event.stopPropagation();
  });
  addEventListener("resize", () => close());
  document.addEventListener("scroll", (event) => { if (event.target.id === "rows") close(); }, { capture: true, passive: true });

  // The key opens this menu; the mouse keeps the browser's own one.
  let openedByKey = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "ContextMenu" && !(event.key === "F10" && event.shiftKey)) return;
    const row = event.target.closest?.("#rows > li")?.querySelector("a.row[data-chat]");
    if (!row) return;
    event.preventDefault();
    openedByKey = performance.now();
    open(row.dataset.chat, "row");
  });
  document.addEventListener("contextmenu", (event) => {
    if (performance.now() - openedByKey < 500) event.preventDefault();
  });

  // Redrawn rows need their controls, and the menu goes with its row.
  const refresh = () => {
    decorate();
    if (menu.hidden) return;
    if (!rowOf(chat)) { close(); return; }
    buttonOf(chat).setAttribute("aria-expanded", "true");
    place();
  };
  addEventListener("okno:list-drawn", refresh);
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    decorate();
    if (detail.target?.id === "list") close({ focuses: menu.contains(document.activeElement) });
  });
  decorate();
  window.okno = Object.assign(window.okno || {}, { chatRows: { decorate, traits, isMenuOpen } });
})();
