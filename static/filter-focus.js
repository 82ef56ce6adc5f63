// Search and filters of a page with a table: a submitted filter keeps the focus on the next page, and keys lead from there
// to the rows.
(() => {
  const form = document.querySelector("form.filters"), KEY = "okno.filter-focus";
  if (!form) return;
  const hasKeyboard = () => !matchMedia("(pointer: coarse)").matches; // a touch keyboard would cover what was found

  form.addEventListener("submit", () => {
    const { activeElement: field } = document;
    const name = form.contains(field) ? field.name || field.id : "";
    try { if (name) sessionStorage.setItem(KEY, `${location.pathname} ${name}`); } catch { /* storage is off */ }
  });
  let name;
  try {
    const [path, ...words] = (sessionStorage.getItem(KEY) || "").split(" ");
    if (path === location.pathname) name = words.join(" ");
    sessionStorage.removeItem(KEY);
  } catch { /* storage is off */ }
  const field = name && (form.elements[name]?.length && !form.elements[name].focus ? form.elements[name][0] : form.elements[name]);
  if (field && hasKeyboard() && document.activeElement === document.body) {
    field.focus({ preventScroll: true });
    if (field.type === "search") field.setSelectionRange(field.value.length, field.value.length);
  }

  const links = () => [...document.querySelectorAll("table tbody tr")].map((row) => row.querySelector("a[href], button")).filter(Boolean);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || !event.target.matches?.("form.filters [type=search]") || !links().length) return;
    event.preventDefault();
    links()[0].focus();
  });
})();
