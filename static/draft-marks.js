// "Draft:" in the chat list. The server marks its own drafts; this page marks what it has just saved, or could not save.
(() => {
  if (!document.getElementById("desk")) return;
  const MAX_LENGTH = 200; // characters
  const byId = (id) => document.getElementById(id);

  // `text`: the draft of this chat; empty if there is none.
  const update = (chat, text) => {
    const row = document.querySelector(`a.row[data-chat="${CSS.escape(chat)}"]`), old = row?.querySelector(".draft");
    if (!row) return;
    const words = text.replace(/\s+/g, " ").trim().slice(0, MAX_LENGTH);
    if (!words) { old?.remove(); return; }
    const mark = byId("draft-mark").content.firstElementChild.cloneNode(true);
    mark.querySelector("span").textContent = words;
    if (old) old.replaceWith(mark);
    else row.querySelector(".words")?.before(mark);
  };
  // Rows were redrawn: mark the drafts that only this browser has.
  const markCopies = () => {
    for (const chat of okno.localCopies.chats("draft")) {
      const copy = okno.localCopies.read("draft", chat);
      if (!copy?.savedAt) update(chat, copy?.text || ""); // the server marks what it has
    }
  };
  for (const name of ["okno:list-drawn", "okno:chat-opened"]) addEventListener(name, markCopies);
  document.addEventListener("htmx:afterSwap", markCopies);
  window.okno = Object.assign(window.okno || {}, { draftMarks: { update } });
})();
