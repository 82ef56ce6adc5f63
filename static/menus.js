// <details> menus: arrow keys, and closing on outside clicks, Escape and Tab.
addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
// Tab that leaves a menu closes it, so that it does not cover what has the focus.
addEventListener("keyup", (event) => {
  if (event.key !== "Tab") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(document.activeElement)) menu.open = false;
  }
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
// Arrows, Home and End move between the items of an open menu. Tab reaches its fields, which keep their keys. Scripts of
// single menus come first.
addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu[open]");
  if (!menu || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("textarea, select, input:not([type=checkbox], [type=radio])")) return;
  const items = [...menu.querySelectorAll(".menu-panel :is(a[href], button, summary, [type=checkbox], [type=radio])")]
    .filter((item) => item.getClientRects().length && !item.disabled);
  const at = items.indexOf(document.activeElement), last = items.length - 1;
  const target = { ArrowDown: at === last ? 0 : at + 1, ArrowUp: at <= 0 ? last : at - 1, Home: 0, End: last }[event.key];
  if (target === undefined || !items.length) return;
  event.preventDefault();
  items[target].focus();
});
