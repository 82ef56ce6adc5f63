// Editing of the client's card and notes: errors are shown under their fields, and typed text is kept.
(() => {
  const showErrors = (form, fields) => {
    for (const message of form.querySelectorAll("[data-error-for]")) {
      const sentence = fields[message.dataset.errorFor] || "";
      message.textContent = sentence;
      message.hidden = !sentence;
      const input = form.querySelector(`[name="${message.dataset.errorFor}"]`);
      if (input) input.toggleAttribute("aria-invalid", Boolean(sentence));
    }
    form.querySelector("[aria-invalid]")?.focus();
  };

  const save = async (form) => {
    if ("busy" in form.dataset) return;
    form.dataset.busy = "";
    try {
      const answer = await okno.postAsUser(form.action, new URLSearchParams(new FormData(form)));
      if (answer.status === 422) { showErrors(form, (await answer.json()).fields); return; }
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      showErrors(form, {});
      const details = form.closest("details");
      details.open = false;
      details.querySelector("summary").focus({ preventScroll: true });
      dispatchEvent(new Event("okno:poll"));
    } catch {
      showErrors(form, { "": form.dataset.failed || document.getElementById("composer")?.dataset.failed || "…" });
    } finally {
      delete form.dataset.busy;
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("details [data-card-form]");
    if (!form) return;
    event.preventDefault();
    save(form);
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches("details.edits[open]")) event.target.querySelector(".input")?.focus();
  }, true);
  document.addEventListener("keydown", (event) => {
    const details = event.target.closest?.("details.edits[open]");
    if (!details) return;
    if (event.key === "Escape") {
      details.open = false;
      details.querySelector("summary").focus({ preventScroll: true });
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      details.querySelector("form").requestSubmit();
    }
  });
})();
