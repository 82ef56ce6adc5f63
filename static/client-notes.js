// Unsaved client note, stored in this browser.
(() => {
  const byId = (id) => document.getElementById(id);
  const field = () => byId("client")?.querySelector("textarea[name=note]");
  const chat = () => byId("chat").dataset.chat;

  // The client pane may be redrawn while the form is closed. An unsaved note opens the form again.
  const restore = () => {
    const note = field(), copy = note && okno.localCopies.read("note", chat());
    if (!copy || note.value) return;
    note.value = copy.text;
    note.closest("details").open = true;
  };
  document.addEventListener("input", (event) => {
    if (event.target !== field()) return;
    if (event.target.value.trim()) okno.localCopies.write("note", chat(), { text: event.target.value, at: okno.now() });
    else okno.localCopies.remove("note", chat());
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const { elt, xhr, requestConfig } = event.detail;
    if (!elt.elements?.note || xhr.status !== 204) return;
    const saved = requestConfig.parameters.note, number = requestConfig.parameters.for_chat;
    if (okno.localCopies.read("note", number)?.text === saved) okno.localCopies.remove("note", number);
    if (elt.elements.note.value === saved) elt.elements.note.value = "";
  });
  addEventListener("okno:chat-opened", restore);
  addEventListener("okno:draft-received", restore);
  restore();
})();
