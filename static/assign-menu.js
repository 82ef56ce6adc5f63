// Assign menu: filter a long list of people and teams while typing.
(() => {
  document.addEventListener("input", (event) => {
    if (!event.target.matches?.("[data-filters-menu]")) return;
    const words = event.target.value.trim().toLocaleLowerCase();
    for (const button of event.target.form.querySelectorAll("button[name]")) {
      button.hidden = Boolean(words) && Boolean(button.value) && !button.textContent.toLocaleLowerCase().includes(words);
    }
  });
  document.addEventListener("keydown", (event) => {
    const panel = event.target.closest?.(".assign-menu .menu-panel");
    if (!panel) return;
    if (event.key === "Enter" && event.target.matches("[data-filters-menu]")) {
      event.preventDefault(); // the first match, but no choice without words
      if (event.target.value.trim()) panel.querySelector("button[name=user]:not([hidden]):not([value='']), button[name=team]:not([hidden])")?.click();
    } else if (event.key === "Enter" && event.target.matches("textarea") && (event.ctrlKey || event.metaKey)) event.preventDefault();
  });
})();
