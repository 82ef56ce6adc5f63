// Countdown of service windows. Each element with data-expires-at shows the time left by the database's clock: the
// length of its circle .left, the text of its [data-words] (h:mm:ss if data-format="clock"), and the level's CSS class.
(() => {
  const HOUR = 3600e3;
  const LEVELS = ["ok", "warning", "critical", "closed"];
  const MARKS = [[4 * HOUR, "hours_left"], [HOUR, "hour_left"], [HOUR / 4, "quarter_left"]];
  const MINUTE = 60e3;
  let offset = null; // the database's clock minus this computer's
  let units = {};

  // `arrived`: when the response came. Responses are always late, so the largest difference is the most accurate,
  // unless this computer's clock was changed.
  const setNow = (milliseconds, arrived = Date.now()) => {
    const difference = milliseconds - arrived;
    if (offset === null || difference > offset || offset - difference > MINUTE) offset = difference;
  };
  const levelOf = (left) => (left <= 0 ? "closed" : left < HOUR ? "critical" : left < 4 * HOUR ? "warning" : "ok");
  const twoDigits = (number) => String(number).padStart(2, "0");
  const parts = (left) => {
    const seconds = Math.floor(left / 1000);
    return [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  };
  const clockText = (left) => { const [h, m, s] = parts(left); return `${h}:${twoDigits(m)}:${twoDigits(s)}`; };
  const durationText = (left) => {
    const [h, m, s] = parts(left);
    if (h >= 4) return `${h}\u00a0${units.hours}`;
    if (h) return `${h}\u00a0${units.hours} ${m}\u00a0${units.minutes}`;
    return m ? `${m}\u00a0${units.minutes}` : `${s}\u00a0${units.seconds}`;
  };

  const show = (element) => {
    const left = Date.parse(element.dataset.expiresAt) - (Date.now() + offset);
    const level = levelOf(left);
    if (!element.classList.contains(level)) {
      element.classList.remove(...LEVELS);
      element.classList.add(level);
    }
    const share = `${Math.round(Math.max(0, Math.min(1, left / (24 * HOUR))) * 100)} 100`;
    const ring = element.querySelector(".left");
    if (ring && ring.getAttribute("stroke-dasharray") !== share) ring.setAttribute("stroke-dasharray", share);
    const label = element.querySelector("[data-words]");
    const text = left <= 0 ? units.closed : element.dataset.format === "clock" ? clockText(left) : durationText(left);
    if (label && label.textContent !== text) label.textContent = text;
    if ("announce" in element.dataset) announceMarks(element, left);
    if (left <= 0) {
      element.removeAttribute("data-expires-at");
      dispatchEvent(new CustomEvent("okno:window-closed", { detail: element }));
    }
  };

  // Announce the time left to screen readers at the marks instead of every second.
  const announceMarks = (element, left) => {
    const before = Number(element.dataset.leftBefore || left);
    element.dataset.leftBefore = left;
    const mark = MARKS.findLast(([at]) => before > at && left <= at);
    if (left <= 0) announce("is_closed");
    else if (mark) announce(mark[1]);
  };
  const announce = (key) => { document.getElementById("announcer").textContent = units[key]; };

  const waitingText = (span) => {
    const minutes = Math.max(Math.floor(span / MINUTE), 0);
    if (minutes >= 48 * 60) return `${Math.floor(minutes / (24 * 60))}\u00a0${units.days}`;
    return minutes >= 60 ? `${Math.floor(minutes / 60)}\u00a0${units.hours}` : `${minutes || "<1"}\u00a0${units.minutes}`;
  };
  const showWaiting = (element) => {
    const label = element.querySelector("[data-words]");
    const text = waitingText(Date.now() + offset - Date.parse(element.dataset.waitingSince));
    if (label.textContent !== text) label.textContent = text;
  };

  const tick = () => {
    for (const element of document.querySelectorAll("[data-waiting-since]")) showWaiting(element);
    for (const element of document.querySelectorAll("[data-expires-at]")) show(element);
  };

  units = JSON.parse(document.getElementById("units")?.textContent || "{}");
  const desk = document.querySelector("[data-now]");
  const loaded = performance.getEntriesByType("navigation")[0];
  if (desk) setNow(Number(desk.dataset.now), performance.timeOrigin + (loaded?.responseStart || performance.now()));
  setInterval(tick, 1000);
  tick();
  window.okno = Object.assign(window.okno || {}, { setNow, tick, announce, now: () => Date.now() + offset });
})();
