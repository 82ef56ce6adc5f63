// Macros in the list of quick replies, and in the palette: both run what the menu of the chat runs.
(() => {
  const byId = (id) => document.getElementById(id);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-macro]");
    if (!button || okno.isLocked?.()) return;
    button.disabled = true;
    try {
      const answer = await okno.postAsUser(button.dataset.macro, { macro_key: button.dataset.key });
      if (answer.status === 422) dispatchEvent(new CustomEvent("okno:action-refused", { detail: (await answer.json()).sentence }));
      else if (answer.ok && !answer.redirected) byId("template_panel")?.querySelector("[data-close-panel]")?.click();
    } catch {
      dispatchEvent(new CustomEvent("okno:action-refused", { detail: byId("composer")?.dataset.failed || "" }));
    } finally {
      button.disabled = false;
      dispatchEvent(new Event("okno:poll"));
    }
  });
})();
