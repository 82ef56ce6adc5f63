// Macros in the list of quick replies, and in the palette: both run what the menu of the chat runs.
(() => {
  const byId = (id) => document.getElementById(id);

  // Run a macro. If a colleague has answered meanwhile, ask first.
  const run = async (button, address, key) => {
    if (okno.isLocked?.()) return;
    const menu = button.closest("details.menu"), chat = byId("chat")?.dataset.chat;
    button.disabled = true;
    try {
      const answer = await okno.postAsUser(address, { macro_key: key, ...okno.colleagueReplies.fields() });
      if (answer.redirected) { dispatchEvent(new Event("okno:signed-out")); return; }
      if (answer.status === 422) {
        const result = await answer.json();
        if (byId("chat")?.dataset.chat !== chat) return;
        if (menu) menu.open = false;
        if (result.reason === "answered_meanwhile") okno.colleagueReplies.ask(result, "macro", () => run(button, address, key));
        else dispatchEvent(new CustomEvent("okno:action-refused", { detail: result }));
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      dispatchEvent(new Event("okno:action-done"));
      dispatchEvent(new Event("okno:template-closed"));
      if (menu) {
        menu.open = false;
        if (menu.contains(document.activeElement)) menu.querySelector("summary").focus({ preventScroll: true });
      } else byId("template_panel")?.querySelector("[data-close-panel]")?.click();
      if (byId("chat")?.dataset.chat === chat) okno.chatOpening.showNewest();
    } catch {
      dispatchEvent(new CustomEvent("okno:action-refused", { detail: { sentence: byId("composer")?.dataset.failed || "" } }));
    } finally {
      button.disabled = false;
      dispatchEvent(new Event("okno:poll"));
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-macro]");
    if (button) run(button, button.dataset.macro, button.dataset.key);
  });
  document.addEventListener("submit", (event) => { // the menu of the chat works without a script, too
    const button = event.submitter;
    if (button?.name !== "macro_key") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    run(button, button.getAttribute("formaction"), button.value);
  }, true);

  // --- keys and palette: Z and X open the menus; the palette lists what the menus of the open chat offer ----------------
  const openMenu = (menu, selector) => {
    menu.open = true;
    (menu.querySelector(selector) || menu.querySelector("summary")).focus();
  };
  const MACRO = ".head-actions [data-command^=macro-]";
  const macroMenu = () => document.querySelector(MACRO)?.closest("details");
  okno.shortcuts?.define("snooze", () => openMenu(byId("snooze-menu").parentElement, ".menu-panel button"), () => Boolean(byId("snooze-menu")));
  okno.shortcuts?.define("macros", () => openMenu(macroMenu(), MACRO), () => Boolean(macroMenu()));

  const find = (name) => document.querySelector(`[data-command="${name}"]`);
  const register = () => {
    for (const button of document.querySelectorAll("[data-command]")) {
      const name = button.dataset.command;
      okno.shortcuts?.add({ name, title: button.dataset.commandTitle, run: () => find(name)?.click(), when: () => Boolean(find(name)) });
    }
  };
  addEventListener("okno:palette-opening", register);
})();
