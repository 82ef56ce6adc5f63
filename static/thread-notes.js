// Notes in the thread: the composer's mode, the note's draft in this browser, and saving.
(() => {
  const byId = (id) => document.getElementById(id);
  if (!byId("desk")) return;
  const compose = () => byId("compose");
  const form = () => byId("note-form");
  const box = () => byId("note-text");
  const chat = () => byId("chat").dataset.chat;
  const KIND = "threadNote"; // of the local copy
  const REQUEST_TIMEOUT = 60_000; // milliseconds

  // --- mode ----------------------------------------------------------------------------------------------------------
  // Only the operator switches the mode: opening another chat begins with the reply.
  const setMode = (mode, { focuses = true } = {}) => {
    if (!compose() || !form()) return;
    compose().dataset.mode = mode;
    for (const link of compose().querySelectorAll("[data-compose]")) {
      if (link.dataset.compose === mode) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (focuses) byId(mode === "note" ? "note-text" : "text")?.focus();
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-compose]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    setMode(link.dataset.compose);
  });

  // --- draft ---------------------------------------------------------------------------------------------------------
  const showDot = () => {
    const dot = compose()?.querySelector(".draft-dot");
    if (dot) dot.hidden = !box()?.value.trim();
  };
  const saveCopy = () => {
    if (box().value.trim()) okno.localCopies.write(KIND, chat(), { text: box().value, at: okno.now(), key: form().elements.note_key.value });
    else okno.localCopies.remove(KIND, chat());
    showDot();
  };
  const restore = () => {
    const copy = form() && okno.localCopies.read(KIND, chat());
    if (copy && !box().value) {
      box().value = copy.text;
      if (copy.key) form().elements.note_key.value = copy.key;
    }
    showDot();
  };
  // Another tab of this browser has changed or saved the note.
  addEventListener("storage", ({ key: name, oldValue, newValue }) => {
    if (!form() || name !== okno.localCopies.storageKey(KIND, chat())) return;
    const copy = JSON.parse(newValue || "null"), before = JSON.parse(oldValue || "null");
    if (copy) box().value = copy.text;
    else if (box().value === before?.text) box().value = "";
    form().elements.note_key.value = copy?.key || okno.newKey();
    showDot();
  });
  document.addEventListener("input", (event) => { if (event.target.id === "note-text") { showProblem(""); saveCopy(); } });

  // --- saving ----------------------------------------------------------------------------------------------------------
  const showProblem = (sentence) => {
    const place = byId("note-problem");
    place.querySelector("span").textContent = sentence;
    place.hidden = !sentence;
  };
  const save = async () => {
    const own = form(), text = box().value, number = chat();
    if (own.classList.contains("saving") || !text.trim()) return;
    showProblem("");
    own.classList.add("saving");
    try {
      const values = { note: text, note_key: own.elements.note_key.value, for_chat: number };
      const answer = await okno.postAsUser(own.getAttribute("action"), values, { signal: AbortSignal.timeout(REQUEST_TIMEOUT) });
      if (answer.redirected) throw new Error("signed out");
      if (answer.status === 422 || answer.status === 409 || answer.status === 410) {
        if (own === form()) showProblem((await answer.json()).sentence || own.dataset.failed);
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      if (okno.localCopies.read(KIND, number)?.text === text) okno.localCopies.remove(KIND, number);
      own.elements.note_key.value = okno.newKey();
      if (own.elements.note.value === text) own.elements.note.value = ""; // also in a chat that was left meanwhile
      else if (own === form()) saveCopy();
      showDot();
      if (number !== chat()) return;
      addEventListener("okno:thread-drawn", () => okno.scrollToEnd(), { once: true });
      okno.chatOpening.showNewest();
    } catch {
      if (own === form()) showProblem(own.dataset.failed);
    } finally {
      own.classList.remove("saving");
    }
  };
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "note-form") return;
    event.preventDefault();
    if (!event.target.closest("[inert]")) save();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "note-text" || event.defaultPrevented || !okno.composer.isSendKey(event)) return;
    event.preventDefault();
    if (!event.repeat) form().requestSubmit();
  });

  addEventListener("okno:chat-opened", restore);
  window.okno = Object.assign(window.okno || {}, { compose: { setMode, mode: () => compose()?.dataset.mode } });
  restore();
})();
