// Template form in the admin: while the user types, the server renders the preview, the problems and the rows again.
// Each rendered part has data-region. A part with data-shape is replaced only if its rows changed, so the form is stable.
"use strict";
(() => {
  const previewPart = document.querySelector("[data-preview]");
  const form = previewPart?.closest("form");
  if (!form) return;
  const PAUSE = 250;
  let timer;
  let running;

  const region = (name) => form.querySelector(`[data-region="${CSS.escape(name)}"]`);

  const keepingFocus = (replace) => {
    const { activeElement } = document;
    const name = form.contains(activeElement) ? activeElement.name : "";
    const at = name && "selectionStart" in activeElement ? activeElement.selectionStart : null;
    replace();
    const field = name && !document.contains(activeElement) ? form.elements[name] : null;
    if (!field?.focus) return;
    field.focus();
    if (at !== null && field.setSelectionRange) field.setSelectionRange(at, at);
  };

  const show = (html) => {
    const pieces = new DOMParser().parseFromString(html, "text/html").querySelectorAll("[data-region]");
    keepingFocus(() => {
      for (const piece of pieces) {
        const current = region(piece.dataset.region);
        if (!current || (piece.dataset.shape !== undefined && piece.dataset.shape === current.dataset.shape)) continue;
        current.replaceWith(document.importNode(piece, true));
      }
    });
  };

  const render = async () => {
    running?.abort();
    running = new AbortController();
    try {
      const answer = await fetch(previewPart.dataset.preview, {
        method: "POST", body: new FormData(form), signal: running.signal, credentials: "same-origin",
      });
      if (answer.ok) show(await answer.text());
    } catch (error) {
      if (error.name !== "AbortError") console.warn("preview:", error.message);
    }
  };

  const showHeaderFields = () => {
    const kind = form.elements.header_kind?.value;
    for (const field of form.querySelectorAll("[data-only-for]")) field.hidden = field.dataset.onlyFor !== kind;
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(render, PAUSE);
  });
  form.addEventListener("change", (event) => {
    showHeaderFields();
    if (event.target.tagName === "SELECT") render();
  });
  showHeaderFields();
})();
