// Templates page: search as you type, toggle favorites in place.
(() => {
  const byId = (id) => document.getElementById(id);
  const search = byId("template-search");

  const refresh = okno.latestOnly(async (isLast) => {
    const query = new URLSearchParams([...new FormData(search)].filter(([, value]) => value));
    const answer = await fetch(`${search.getAttribute("action")}?${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok || answer.redirected || !isLast()) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const current = document.querySelector(".template-row[aria-current]")?.pathname;
    byId("template-rows").innerHTML = fresh.getElementById("template-rows").innerHTML;
    byId("template-list").querySelector("[role=status]").textContent = fresh.querySelector("[role=status]").textContent;
    for (const row of document.querySelectorAll(".template-row")) {
      if (row.pathname === current) row.setAttribute("aria-current", "page");
    }
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  });
  search.addEventListener("input", () => refresh.schedule(250));
  if (byId("search-templates").value !== byId("search-templates").defaultValue) refresh.now();
  search.addEventListener("submit", (event) => { event.preventDefault(); refresh.now(); });

  document.addEventListener("click", async (event) => {
    const star = event.target.closest(".star");
    if (!star) return;
    event.preventDefault();
    const on = star.value;
    const answer = await okno.post(star.getAttribute("formaction"), { on });
    if (!answer.ok || answer.redirected) return;
    star.value = on === "1" ? "0" : "1";
    star.setAttribute("aria-pressed", String(on === "1"));
    refresh.now();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest?.("input, textarea, select")) return;
    event.preventDefault();
    byId("search-templates").focus();
  });

  // Scroll only the list; scrollIntoView would scroll the page as well.
  const rows = byId("template-rows");
  const chosen = rows.querySelector(".template-row[aria-current]");
  if (chosen) rows.scrollTop += chosen.getBoundingClientRect().top - rows.getBoundingClientRect().top - rows.clientHeight / 2;
})();
