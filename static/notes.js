// Unsaved client note, stored in this browser.
(() => {
  const byId = (id) => document.getElementById(id);
  const field = () => byId("client")?.querySelector("textarea[name=note]");
  const chat = () => byId("chat").dataset.chat;

  // The pane is redrawn while closed; an unsaved note reopens it.
  const restore = () => {
    const note = field(), kept = note && okno.kept.read("note", chat());
    if (!kept || note.value) return;
    note.value = kept.text;
    note.closest("details").open = true;
  };
  document.addEventListener("input", (event) => {
    if (event.target !== field()) return;
    if (event.target.value.trim()) okno.kept.write("note", chat(), { text: event.target.value, at: okno.now() });
    else okno.kept.remove("note", chat());
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const { elt, xhr, requestConfig } = event.detail;
    if (!elt.elements?.note || xhr.status !== 204) return;
    const saved = requestConfig.parameters.note, number = requestConfig.parameters.for_chat;
    if (okno.kept.read("note", number)?.text === saved) okno.kept.remove("note", number);
    if (elt.elements.note.value === saved) elt.elements.note.value = "";
  });
  addEventListener("okno:opened", restore);
  addEventListener("okno:draft", restore);
  restore();
})();
