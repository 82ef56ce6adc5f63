// Insert text into the composer, separated from the text around it. Ctrl+Z undoes it.
(() => {
  const box = () => document.getElementById("text");

  // `apart` stands between the words and their neighbors. `atEnd`: not where the caret is, but after everything.
  const insert = (words, { apart = " ", atEnd = false } = {}) => {
    const field = box();
    field.focus();
    if (atEnd) field.setSelectionRange(field.value.length, field.value.length);
    const before = field.value.slice(0, field.selectionStart), after = field.value.slice(field.selectionEnd);
    const lead = before && !before.match(apart === "\n" ? /\n$/ : /\s$/) ? apart : "";
    const trail = after && !after.match(apart === "\n" ? /^\n/ : /^\s/) ? apart : "";
    const text = lead + words + trail;
    // The only way in which a browser can undo it, though an old one. It fires `input` by itself.
    if (document.activeElement === field && document.execCommand("insertText", false, text)) return;
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  window.okno = Object.assign(window.okno || {}, { insert });
})();
