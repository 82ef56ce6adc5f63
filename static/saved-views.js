// Saved views: numbers in the menu, which are counted when it opens, and saving on the desk without a new page.
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

  // On the desk, only the list is drawn again: the open chat keeps its place and its unread mark.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!["save-view", "update-view"].includes(form.id) || !document.getElementById("desk")) return;
    event.preventDefault();
    if ("busy" in form.dataset) return;
    form.dataset.busy = "";
    const problem = menu().querySelector("[data-problem]");
    let sentence = problem.dataset.failed;
    try {
      const answer = await okno.postAsUser(form.action, new FormData(form));
      if (answer.redirected) dispatchEvent(new Event("okno:signed-out"));
      const result = answer.redirected ? {} : await answer.json();
      if (answer.ok && result.url) {
        menu().open = false;
        okno.listLoading.load(result.url);
        return;
      }
      sentence = result.sentence || sentence;
    } catch { /* no connection */ } finally {
      delete form.dataset.busy;
    }
    problem.textContent = sentence;
    problem.hidden = false;
  });

  okno.shortcuts?.define("views", () => {
    menu().open = true;
    const targets = ["[aria-current]", ".menu-panel :is(a, input)", "summary"];
    targets.map((target) => menu().querySelector(target)).find(Boolean).focus();
  }, () => Boolean(menu()));
})();
