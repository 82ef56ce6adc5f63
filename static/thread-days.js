// Label of the day in view at the top of the thread. It opens a calendar to go to a date.
(() => {
  if (!document.getElementById("desk")) return;
  const MARGIN = 40; // pixels below the top edge: a day that begins here is in view
  const byId = (id) => document.getElementById(id);
  const dateOf = (day) => day.dataset.key.slice(4, 14); // day-2026-11-29
  const IDLE_TIME = 2500; // milliseconds after the last scroll: touch screens hide the label
  let isDrawing = false, idleTimer;

  const draw = () => {
    isDrawing = false;
    const label = byId("day-label"), scroll = byId("scroll");
    if (!label) return;
    const days = [...byId("messages").querySelectorAll(".day[data-key^='day-']:not([hidden])")];
    const isScrollable = scroll.scrollHeight > scroll.clientHeight + MARGIN;
    const day = days.findLast((one) => one.offsetTop <= scroll.scrollTop + MARGIN) || days[0];
    // Where the day's own line is in view, the label would only repeat it and cover what follows.
    label.hidden = !isScrollable || !day || scroll.scrollTop < MARGIN || day.offsetTop >= scroll.scrollTop;
    if (!day) return;
    const words = label.querySelector("span");
    if (words.textContent !== day.textContent) words.textContent = day.textContent;
    byId("day-picker").value = dateOf(day);
    label.classList.remove("idle");
    clearTimeout(idleTimer);
    idleTimer = setTimeout(() => label.classList.add("idle"), IDLE_TIME);
  };
  const schedule = () => {
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(draw);
  };
  document.addEventListener("scroll", (event) => { if (event.target.id === "scroll") schedule(); }, { capture: true, passive: true });
  for (const name of ["okno:chat-opened", "okno:thread-drawn", "okno:earlier-loaded", "resize"]) addEventListener(name, schedule);

  document.addEventListener("click", (event) => {
    if (!event.target.closest("#day-button")) return;
    const picker = byId("day-picker");
    picker.max = new Date(okno.now()).toISOString().slice(0, 10);
    try { picker.showPicker(); } catch { picker.focus(); }
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "day-picker" || !event.target.value) return;
    const date = event.target.value, { chat } = byId("chat").dataset;
    const shown = byId("messages").querySelector(`.day[data-key^="day-${date}"]:not([hidden])`);
    if (shown) shown.scrollIntoView({ block: "start" });
    else okno.chatOpening.open(`/chats/${chat}/?at=d${date}`, { chat, name: byId("chat_header").querySelector("h2").textContent });
  });
})();
