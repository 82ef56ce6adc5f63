// The client pane of a narrow screen lies over the chat: the back gesture, Escape and a tap outside close it, and it
// leaves no step in the history.
(() => {
  const HASH = "#client";
  const pane = () => document.getElementById("client");
  const isOver = () => location.hash === HASH && pane() && getComputedStyle(pane()).position === "fixed";
  let isOpenedHere = false, opener = null;

  const close = () => {
    if (isOpenedHere) history.back();
    else location.replace("#chat");
    isOpenedHere = false;
    opener?.focus({ preventScroll: true });
    opener = null;
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (link?.getAttribute("href") === HASH) opener = link;
    else if (link?.classList.contains("close-client") && location.hash === HASH) {
      event.preventDefault();
      close();
    } else if (isOver() && !event.target.closest("#client, dialog, .menu-panel")) {
      event.preventDefault();
      close();
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || !isOver() || document.querySelector("dialog[open], details.menu[open]")) return;
    event.preventDefault();
    close();
  });
  addEventListener("hashchange", () => { isOpenedHere = location.hash === HASH; });
})();
