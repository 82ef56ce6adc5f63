// The own status in the account menu, changed without leaving the page.
(() => {
  const form = document.querySelector("[data-availability]");
  if (!form || !window.okno?.postAsUser) return;
  const mark = document.querySelector("[data-own-status]"), label = form.querySelector("[data-own-label]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const choice = event.submitter?.value;
    if (!choice) return;
    try {
      const answer = await okno.postAsUser(form.action, { choice });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const { status, label: words } = await answer.json();
      mark.className = `presence ${status}`;
      label.textContent = words;
      const menu = form.closest("details");
      menu.open = false;
      menu.querySelector("summary").focus();
    } catch {
      label.textContent = form.dataset.failed;
    }
  });
})();
