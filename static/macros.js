// Macros in the list of quick replies, and in the palette: both run what the menu of the chat runs.
(() => {
  const byId = (id) => document.getElementById(id);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-macro]");
    if (!button || okno.isLocked?.()) return;
    button.disabled = true;
    const { chat } = byId("chat").dataset;
    try {
      const answer = await okno.postAsUser(button.dataset.macro, { macro_key: button.dataset.key });
      if (answer.status === 422) dispatchEvent(new CustomEvent("okno:action-refused", { detail: (await answer.json()).sentence }));
      else if (answer.ok && !answer.redirected) {
        byId("template_panel")?.querySelector("[data-close-panel]")?.click();
        if (chat === byId("chat").dataset.chat) okno.chatOpening.showNewest();
      }
    } catch {
      dispatchEvent(new CustomEvent("okno:action-refused", { detail: byId("composer")?.dataset.failed || "" }));
    } finally {
      button.disabled = false;
      dispatchEvent(new Event("okno:poll"));
    }
  });

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
