// Forms and menus of the desk that htmx submits: errors, closing menus, keyboard.
(() => {
  if (!document.getElementById("desk")) return;
  const byId = (id) => document.getElementById(id);

  document.addEventListener("htmx:afterSwap", () => okno.tick());
  // htmx would queue a second click and post it after the first.
  document.addEventListener("htmx:confirm", (event) => {
    if (event.detail.verb === "post" && event.detail.elt.matches(".htmx-request")) event.preventDefault();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (requestConfig.verb !== "post") return;
    const isSignedOut = xhr.responseURL && new URL(xhr.responseURL).pathname !== new URL(requestConfig.path, location).pathname;
    const isDone = xhr.status >= 200 && xhr.status < 300 && !isSignedOut;
    if (isSignedOut) dispatchEvent(new Event("okno:signed-out"));
    if (isDone) {
      for (const menu of document.querySelectorAll("details.menu[open], details.adds[open]")) closeMenu(menu);
      dispatchEvent(new Event("okno:action-done"));
    } else dispatchEvent(new CustomEvent("okno:action-refused", { detail: describeRefusal(xhr) }));
    byId("chat").dataset.version = ""; // parts that waited for this response are drawn now
    dispatchEvent(new Event("okno:poll"));
  });
  const describeRefusal = (xhr) => {
    try {
      const { sentence = "", until } = JSON.parse(xhr.responseText);
      return { sentence, until };
    } catch {
      return { sentence: byId("composer")?.dataset.failed || "" };
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

  addEventListener("okno:window-closed", (event) => {
    if ("announce" in event.detail.dataset) {
      event.detail.hidden = true;
      document.querySelector("[data-when-closed]")?.removeAttribute("hidden");
    }
    dispatchEvent(new Event("okno:poll"));
  });
})();
