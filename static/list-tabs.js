// Tabs of the chat list: on a phone they are one row that scrolls sideways, and the chosen one is in view.
(() => {
  let shown = "";
  const reveal = () => {
    const tabs = document.getElementById("tabs"), chosen = tabs?.querySelector("[aria-current]");
    if (!chosen || tabs.scrollWidth <= tabs.clientWidth) return;
    tabs.scrollLeft = chosen.offsetLeft - (tabs.clientWidth - chosen.offsetWidth) / 2;
    shown = chosen.id;
  };
  // A list that is loaded again keeps its place unless another tab is chosen.
  let left = 0;
  document.addEventListener("htmx:beforeSwap", () => { left = document.getElementById("tabs")?.scrollLeft || 0; });
  document.addEventListener("htmx:afterSwap", () => {
    const tabs = document.getElementById("tabs");
    if (tabs && tabs.querySelector("[aria-current]")?.id === shown) tabs.scrollLeft = left;
    else reveal();
  });
  addEventListener("resize", reveal);
  reveal();
})();
