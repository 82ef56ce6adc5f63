// Apply the stored theme before the first paint. Default: the system's theme.
(() => {
  const KEY = "okno-theme";
  const root = document.documentElement;
  const storedTheme = () => {
    try { return localStorage.getItem(KEY) || "system"; } catch { return "system"; }
  };
  const apply = (theme) => {
    if (theme === "system") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    for (const button of document.querySelectorAll("[data-set-theme]")) {
      button.setAttribute("aria-pressed", String(button.dataset.setTheme === theme));
    }
  };
  apply(storedTheme());
  addEventListener("DOMContentLoaded", () => apply(storedTheme()));
  addEventListener("storage", (event) => { if (event.key === KEY) apply(storedTheme()); });
  addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-set-theme]");
    if (!button) return;
    try { localStorage.setItem(KEY, button.dataset.setTheme); } catch { /* private mode: for this page only */ }
    apply(button.dataset.setTheme);
  });
})();
