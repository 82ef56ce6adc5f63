// Close <details> menus on outside clicks, Escape and Tab.
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
