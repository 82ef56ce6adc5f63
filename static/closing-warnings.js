// Warnings about closing windows: toasts, and browser notifications if allowed.
(() => {
  const desk = document.getElementById("desk");
  const toasts = document.getElementById("toasts");
  if (!desk || !toasts) return;
  const MAX_TOASTS = 4;
  let last = desk.dataset.lastWarning;

  const canNotify = () => "Notification" in window && Notification.permission === "granted";
  const canAsk = () => "Notification" in window && Notification.permission === "default";
  const showButton = () => {
    const button = document.getElementById("allow-notices");
    if (button) button.hidden = !canAsk();
  };

  const notify = ({ title, text, url, chat }) => {
    // All tabs use the same tag, so that a second tab replaces the notification silently.
    const notice = new Notification(title, { body: text, tag: `okno-window-${chat}`, icon: toasts.dataset.icon });
    notice.addEventListener("click", () => {
      window.focus();
      location.assign(url);
      notice.close();
    });
  };

  const showToast = ({ title, text, url, chat, level }) => {
    document.getElementById(`toast-${chat}`)?.remove();
    const box = document.getElementById("toast").content.firstElementChild.cloneNode(true);
    box.id = `toast-${chat}`;
    box.classList.add(level);
    const link = box.querySelector("a");
    link.href = url;
    link.querySelector("b").textContent = title;
    link.querySelector("span").textContent = text;
    toasts.prepend(box);
    while (toasts.children.length > MAX_TOASTS) toasts.lastElementChild.remove();
  };

  const show = (warnings) => {
    last = warnings.last;
    for (const item of [...warnings.items].reverse()) {
      showToast(item);
      if (canNotify()) notify(item);
    }
    const rest = document.getElementById("toasts-rest");
    rest.textContent = warnings.rest;
    rest.hidden = !warnings.rest;
  };

  document.addEventListener("click", async (event) => {
    const box = event.target.closest(".toast");
    if (event.target.closest("[data-dismiss-toast]")) {
      box.remove();
      if (!toasts.children.length) document.getElementById("toasts-rest").hidden = true;
    } else if (box && event.target.closest("a")) box.remove();
    if (event.target.closest("#allow-notices")) {
      await Notification.requestPermission();
      showButton();
    }
  });
  document.addEventListener("htmx:afterSwap", showButton);
  showButton();
  okno.pollParameters.push(() => ({ last_warning: last }));
  addEventListener("okno:updates", ({ detail: { warnings } }) => { if (warnings) show(warnings); });
})();
