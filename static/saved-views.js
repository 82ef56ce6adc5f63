// Saved views: numbers in the menu, which are counted when it opens, and views in the command palette.
(() => {
  const menu = () => document.getElementById("views-menu");

  const showCounts = async () => {
    const opened = menu();
    let answer;
    try { answer = await fetch(opened.dataset.countsUrl); } catch { return; } // no connection: no numbers
    if (!answer.ok || answer.redirected) return;
    const { counts } = await answer.json();
    for (const link of opened.querySelectorAll("[data-view]")) {
      link.querySelector("[data-count]").textContent = counts[link.dataset.view] ?? "";
    }
  };
  // The list redraws the menu, so the listener is on the document. The event does not bubble.
  document.addEventListener("toggle", (event) => {
    if (event.target === menu() && event.target.open) showCounts();
  }, true);

  // The chat that is open now stays open; the list may have been drawn before it.
  document.addEventListener("submit", ({ target: form }) => {
    if (!["save-view", "update-view"].includes(form.id)) return;
    form.querySelector("[name=chat]")?.remove();
    const chat = document.getElementById("chat")?.dataset.chat;
    if (chat) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "chat", value: chat }));
  });

  okno.shortcuts?.define("views", () => {
    menu().open = true;
    (menu().querySelector("[aria-current]") || menu().querySelector(".menu-panel a, .menu-panel input"))?.focus();
  }, () => Boolean(menu()));
})();
