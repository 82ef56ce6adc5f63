// Polling for changes: one request at a time, on every page of a user who may see chats. Each answer is dispatched as
// "okno:updates". A feature adds its query parameters through okno.pollParameters.
(() => {
  const app = document.getElementById("app");
  if (!app?.dataset.updatesUrl) return;
  const POLL_INTERVAL = 1500, POLL_INTERVAL_OTHER_PAGE = 3000, POLL_INTERVAL_HIDDEN = 5000; // milliseconds
  const POLL_TIMEOUT = 20_000; // milliseconds: a connection that died unnoticed would stop the updates
  const byId = (id) => document.getElementById(id);
  const pollParameters = [() => ({ for_user: okno.user, away: document.hidden ? "1" : undefined })];
  const PRESS_TIME = 10_000; // milliseconds: a longer press is one whose release was not seen
  let token = byId("list")?.dataset.pollToken || "", timer, busy = false, isRepeatNeeded = false, failures = 0, isDown = false, pointerAt = 0;

  // A click is lost if its target is replaced between press and release. The next poll repeats skipped updates.
  // Only the main button counts, and moves do too: a context menu swallows the release.
  for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
    addEventListener(name, (event) => { [isDown, pointerAt] = [Boolean(event.buttons & 1), performance.now()]; }, { capture: true, passive: true });
  }

  const pause = () => {
    if (isRepeatNeeded) return 0;
    if (document.hidden) return POLL_INTERVAL_HIDDEN;
    return (byId("desk") ? POLL_INTERVAL : POLL_INTERVAL_OTHER_PAGE) * Math.min(1 + failures, 8);
  };
  const poll = async () => {
    if (okno.isLocked()) return;
    if (busy) { isRepeatNeeded = true; return; }
    clearTimeout(timer);
    busy = true;
    isRepeatNeeded = false;
    try {
      await fetchUpdates();
      failures = 0;
      byId("offline").hidden = true;
      dispatchEvent(new Event("okno:connected"));
    } catch (problem) {
      failures += 1;
      if (problem.isSignedOut) dispatchEvent(new Event("okno:signed-out"));
      else if (failures > 2) showOffline(false);
    } finally {
      busy = false;
      timer = setTimeout(poll, pause());
    }
  };

  const showOffline = (isSignedOut) => {
    const note = byId("offline");
    note.querySelector("[data-offline]").hidden = isSignedOut;
    note.querySelector("[data-session-ended]").hidden = !isSignedOut;
    note.hidden = false;
  };

  const fetchUpdates = async () => {
    const params = new URLSearchParams();
    for (const parameters of pollParameters) {
      for (const [name, value] of Object.entries(parameters())) if (value !== undefined && value !== null) params.set(name, value);
    }
    const headers = { "HX-Request": "true", "Okno-Poll-Token": token };
    const answer = await fetch(`${app.dataset.updatesUrl}?${params}`, { headers, signal: AbortSignal.timeout(POLL_TIMEOUT) });
    if (answer.redirected) throw Object.assign(new Error("signed out"), { isSignedOut: true });
    if (answer.status === 204) return;
    if (answer.status === 409) okno.handleConflict(await answer.text());
    if (answer.status === 404) dispatchEvent(new Event("okno:chat-not-found"));
    if (!answer.ok) throw new Error(String(answer.status));
    const updates = await answer.json();
    if (updates.poll_token) token = updates.poll_token;
    okno.setNow?.(updates.now);
    dispatchEvent(new CustomEvent("okno:updates", { detail: updates }));
  };

  addEventListener("okno:poll", poll);
  addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  addEventListener("online", poll);
  addEventListener("pageshow", (event) => { if (event.persisted) poll(); });
  addEventListener("okno:signed-out", () => showOffline(true));
  // Later scripts add their parameters and listeners first. The desk polls when its chat has started.
  addEventListener("DOMContentLoaded", () => { if (!byId("desk")) poll(); });
  window.okno = Object.assign(window.okno || {}, { pollParameters, isPressed: () => isDown && performance.now() - pointerAt < PRESS_TIME });
})();
